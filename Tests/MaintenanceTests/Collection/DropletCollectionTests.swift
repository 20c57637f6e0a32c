import Archive
import Blobs
import Droplets
import ImagesTesting
import Layers
import Maintenance
import OCI
import ObjectStore
import Synchronization
import TestSupport
import Testing

@Suite("Collections of droplets")
struct DropletCollectionTests {
    private let house: TestHouse
    private let time: Time
    private let reads: Reads

    /// How many records of droplets were read.
    private final class Reads: Sendable {
        private let count = Mutex(0)
        func add() { count.withLock { $0 += 1 } }
        func take() -> Int {
            count.withLock { count in
                defer { count = 0 }
                return count
            }
        }
    }

    private final class Time: Sendable {
        private let value = Mutex<Int64>(1_800_000_000_000_000_000)
        var now: Int64 { value.withLock { $0 } }
        func pass(seconds: Int64) { value.withLock { $0 += seconds * 1_000_000_000 } }
    }

    init() async throws {
        let time = Time()
        self.time = time
        let reads = Reads()
        self.reads = reads
        let memory = MemoryObjectStore(now: { time.now })
        let store = InstrumentedObjectStore(memory) { (operation, key) throws(ObjectStoreError) in
            if operation == .get, let key, key.text.hasPrefix("bits/droplets/records/") { reads.add() }
        }
        house = try await TestHouse(store: memory, through: store, now: { time.now })
    }

    private func collect(dryRun: Bool = false) async throws -> CollectionReport {
        time.pass(seconds: 48 * 3600)
        _ = reads.take()
        let collector = GarbageCollector(
            owners: ContentOwners([AppDroplets(images: house.images), ImageRecipes(images: house.images)]),
            blobs: house.blobs, reading: house.store)
        return try await collector.collect(dryRun: dryRun)
    }

    private func conversions() async throws -> Set<String> {
        Set(
            try await house.store.listComponents(
                below: "bits/droplets/conversions/", startAfter: nil, limit: 10_000))
    }

    @Test("What no app has any more goes with its conversion; what an unreadable record may name stays")
    func conversionsGo() async throws {
        let stays = try await house.upload("one", .droplet("x"))
        let goes = try await house.upload("one", .droplet("y"))
        let damaged = try await house.upload("two", .droplet("z"))
        try await house.droplets.remove(goes.guid, .sha256(goes.hash))
        let all = Set([stays, goes, damaged].map(\.hash))
        #expect(try await collect(dryRun: true).retired > 0)
        #expect(try await conversions() == all)
        let report = try await collect()
        #expect(report.retired > 0 && report.spared == 0)
        #expect(try await conversions() == [stays.hash, damaged.hash])

        try await house.store.put(
            ObjectKey("bits/droplets/records/two/\(damaged.hash)"), Array("{".utf8), if: .always)
        _ = try await collect()
        #expect(try await conversions() == [stays.hash, damaged.hash])
        #expect(try await house.blobs.find(damaged.content.digest) != nil)
        #expect(try await house.droplets.droplets(of: stays.guid) == [stays])
    }

    private func indexes() async throws -> [ObjectKey] {
        try await house.store.list(prefix: "collection/droplets/", startAfter: nil, limit: 10).map(\.key)
    }

    private func expectContent(_ droplets: [DropletRecord]) async throws {
        for droplet in droplets {
            for digest in [droplet.content.digest] + droplet.content.layers.map(\.digest) {
                #expect(try await house.blobs.find(digest) != nil, "\(droplet.guid)")
            }
        }
    }

    @Test("A collection reads the records that have changed since the one before")
    func index() async throws {
        var droplets: [DropletRecord] = []
        // In the store's order "a-b/…" comes before "a/…".
        for guid in ["a", "a-b", "a0"] {
            for text in ["x", "y"] { droplets.append(try await house.upload(guid, .droplet("\(guid) \(text)"))) }
        }
        _ = try await collect(dryRun: true)
        #expect(try await indexes().isEmpty)
        _ = try await collect()
        #expect(reads.take() == 6)
        _ = try await collect()
        #expect(reads.take() == 0)
        try await house.droplets.remove(droplets[0].guid, .sha256(droplets[0].hash))
        droplets[0] = try await house.upload("a", .droplet("new"))
        _ = try await collect()
        #expect(reads.take() == 1)
        #expect(try await indexes().count == 1)
        try await expectContent(droplets)
        for key in try await indexes() { try await house.store.delete(key, ifVersion: nil) }
        _ = try await collect()
        #expect(reads.take() == 6)
        try await expectContent(droplets)
    }

    @Test("A droplet that was removed and uploaded again in other layers keeps those")
    func uploadedAgain() async throws {
        let old = try await house.upload("app", .droplet("x"), level: .fast)
        _ = try await collect()
        try await house.droplets.remove(old.guid, .sha256(old.hash))
        // Its entry is in the index still, with the old layers.
        let new = try await house.upload("app", .droplet("x"), level: .small)
        #expect(new.hash == old.hash && new.content.layers != old.content.layers)
        let gone = Set(old.content.layers.map(\.digest)).subtracting(new.content.layers.map(\.digest))
        _ = try await collect()
        #expect(reads.take() == 1)
        try await expectContent([new])
        for digest in gone { #expect(try await house.blobs.find(digest) == nil) }
    }

    @Test("A damaged index is not believed")
    func damagedIndex() async throws {
        let droplet = try await house.upload("app", .droplet("x"))
        _ = try await collect()
        let index = try #require(try await indexes().first)
        let bytes = try await house.store.get(index).bytes
        for place in stride(from: 0, to: bytes.count, by: 7) {
            var damaged = bytes
            damaged[place] ^= 0x10
            try await house.store.put(index, damaged, if: .always)
            _ = try await collect()
            #expect(reads.take() == 1, "byte \(place)")
            for key in try await indexes() where key != index {
                try await house.store.delete(key, ifVersion: nil)
            }
        }
        try await expectContent([droplet])
    }

    @Test("Pages of any number of droplets are read to the end")
    func pages() async throws {
        var hashes: Set<String> = []
        for number in 0..<7 { hashes.insert(try await house.upload("app\(number % 3)", .droplet("\(number)")).hash) }
        for limit in [1, 2, 7, 8] {
            var read: [String] = []
            try await house.droplets.forEachPage(of: limit) { read += $0.map(\.hash) }
            #expect(read.count == 7 && Set(read) == hashes, "pages of \(limit)")
        }
        var apps: [String] = []
        try await house.droplets.forEachApp(withMoreThan: 2) { apps.append($0.text) }
        #expect(apps == ["app0"])
    }
}
