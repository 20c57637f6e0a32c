import Bits
import Blobs
import Droplets
import Images
import Maintenance
import OCI
import ObjectStore
import Records
import Registry
import Rootfs
import Synchronization
import TestSupport
import Testing

@Suite("Maintenance of app bits", .timeLimit(.minutes(5)))
struct BitsMaintenanceTests {
    @Test(
        "A binary of before, which knows no owner of them, keeps them as long as it is told that there is content of others",
        arguments: [true, false])
    func older(isTold: Bool) async throws {
        let memory = try await UnreadableTown.fill()
        let town = try await UnreadableTown(memory)
        let key = try ObjectKey(OtherContent.key)
        // It reads all that is below rootfs/ when it starts.
        if isTold { _ = try await town.rootfs.records.stranger(key) }
        let owners = ContentOwners(town.owners.all.filter { !($0 is AppBits) })
        _ = try await GarbageCollector(owners: owners, blobs: town.blobs, reading: memory, clockSkew: 0).collect()
        for name in [try BitsName(.packages, "app"), try BitsName(cacheOf: "app", stack: "teststack")] {
            let record = try await town.bits.find(name)
            #expect((try await town.blobs.find(record.digest) != nil) == isTold)
        }
    }

    @Test("A count has bits of each name, and the files of the stash as one")
    func usage() async throws {
        let town = try await UnreadableTown(try await UnreadableTown.fill())
        let counted = try #require(try await town.count())
        let sizes = Dictionary(uniqueKeysWithValues: counted.largest.map { ($0.repository, $0.bytes) })
        for kind in ["packages", "buildpacks", "caches"] {
            let name =
                kind == "caches"
                ? try BitsName(cacheOf: "app", stack: "teststack")
                : try BitsName(kind == "packages" ? .packages : .buildpacks, "app")
            #expect(sizes["cistern/\(kind)/app"] == (try await town.bits.find(name)).size)
        }
        #expect((sizes["cistern/resources"] ?? 0) > 0)
    }

    @Test("Packages and build caches that nobody uploaded or fetched for their lifetime go; buildpacks stay")
    func retention() async throws {
        let day: Int64 = 86_400_000_000_000
        let clock = Clock(time: 1_800_000_000_000_000_000)
        let memory = MemoryObjectStore()
        let blobs = BlobStore(store: memory, now: { clock.time })
        let bits = BitsCatalog(store: memory, blobs: blobs, limits: BitsLimits(bytes: 1 << 20), now: { clock.time })
        let zip = try TestZip.bytes(["a": "b"])
        let names = [
            try BitsName(.packages, "idle"), try BitsName(.packages, "fetched"), try BitsName(.buildpacks, "idle"),
            try BitsName(cacheOf: "idle", stack: "s"),
        ]
        for name in names { _ = try await bits.upload(BitsUpload(name: name, by: "t"), from: Chunks(zip)) }
        clock.time += 5 * day
        try await bits.open(try await bits.find(names[1])).reader.close()
        clock.time += 3 * day
        _ = try await bits.upload(BitsUpload(name: try BitsName(.packages, "new"), by: "t"), from: Chunks(zip))
        for isDryRun in [true, false, false] {
            let isSecond = try await bits.list(.packages, limit: 10).records.count == 2
            for kind in [BitsKind.packages, .caches] {
                let count = try await bits.retire(kind, unusedFor: 7 * day, isDryRun: isDryRun, in: memory)
                #expect(count == (isSecond ? 0 : 1), "\(kind) \(isDryRun)")
            }
        }
        #expect(try await bits.list(.packages, limit: 10).records.map(\.name.guid) == ["fetched", "new"])
        #expect(try await bits.list(.caches, limit: 10).records.isEmpty)
        #expect(try await bits.list(.buildpacks, limit: 10).records.count == 1)
    }

    private final class Clock: Sendable {
        private let value: Mutex<Int64>
        var time: Int64 {
            get { value.withLock { $0 } }
            set { value.withLock { $0 = newValue } }
        }

        init(time: Int64) { value = Mutex(time) }
    }
}
