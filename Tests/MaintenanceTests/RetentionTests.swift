import Bits
import Clusters
import Droplets
import Images
import ImagesTesting
import Maintenance
import OCI
import ObjectStore
import Packages
import Registry
import Rootfs
import Synchronization
import TestSupport
import Testing

@Suite("Retention")
struct RetentionTests {
    static let second: Int64 = 1_000_000_000

    final class Clock: Sendable {
        private let value = Mutex<Int64>(1_800_000_000 * RetentionTests.second)
        var now: Int64 { value.withLock { $0 } }
        func pass(_ seconds: Int64) { value.withLock { $0 += seconds * RetentionTests.second } }
    }

    /// An app with three droplets, a minute apart, oldest first; versions 1, 2, 3, promoted in this order.
    private struct World {
        let clock = Clock()
        let house: TestHouse
        let pins: RunningImages
        let clusters: ClusterCatalog
        let droplets: [DropletRecord]
        let guid: DropletGUID
        let stack: StackName

        init() async throws {
            let clock = clock
            house = try await TestHouse(now: { clock.now })
            pins = RunningImages(store: house.store, now: { clock.now })
            clusters = ClusterCatalog(store: house.store, pins: pins, now: { clock.now })
            guid = try DropletGUID("app")
            stack = try StackName(TestHouse.stack)
            for version in ["1", "2", "3"] {
                clock.pass(60)
                try await house.importRootfs(version)
                try await house.promote(version)
            }
            var droplets: [DropletRecord] = []
            for text in ["one", "two", "three"] {
                clock.pass(60)
                droplets.append(try await house.upload("app", .droplet(text)))
            }
            self.droplets = droplets
        }

        func apply(droplets: Int? = nil, rootfs: Int? = nil, dryRun: Bool = false) async throws -> RetirementReport {
            let policy = RetentionPolicy(droplets: droplets, rootfs: rootfs, reportAge: 3600 * RetentionTests.second)
            let clock = clock
            let registry = Registry(store: house.store, blobs: house.blobs, now: { clock.now })
            let builds = try await BuildRootfsCatalog(store: house.store, blobs: house.blobs, now: { clock.now })
            return try await Retention(
                images: house.images, pins: pins, clusters: clusters, policy: policy, now: { clock.now }
            )
            .apply(
                to: ContentOwners(
                    registry: registry, images: house.images, builds: builds,
                    bits: BitsCatalog(
                        store: house.store, blobs: house.blobs, limits: BitsLimits(bytes: 1), now: { 1 })
                ), dryRun: dryRun)
        }

        func report(
            _ digests: [Digest] = [], tags: [String] = [], cluster: String = "east", shard: Int = 0, of: Int = 1
        ) async throws {
            try await pins.report(try ClusterName(cluster), shard: shard, of: of, digests, tags: tags)
        }

        var hashes: Set<String> {
            get async throws { Set(try await house.droplets.droplets(of: guid).map(\.hash)) }
        }
    }

    @Test("an app's newest droplets stay, and older ones go")
    func droplets() async throws {
        let world = try await World()
        try await world.report()
        let dry = try await world.apply(droplets: 2, dryRun: true)
        #expect(dry.droplets == ["app/\(world.droplets[0].hash)"])
        #expect(try await world.hashes.count == 3)
        #expect(try await world.apply(droplets: 2).droplets == dry.droplets)
        #expect(try await world.hashes == [world.droplets[1].hash, world.droplets[2].hash])
        #expect(try await world.apply(droplets: 2).droplets.isEmpty)
    }

    @Test(
        "a droplet that runs somewhere stays, on whichever rootfs and in whichever form it runs",
        arguments: [MediaTypeFamily.oci, .docker])
    func running(family: MediaTypeFamily) async throws {
        let world = try await World()
        let image = try await world.house.image("app", "\(world.droplets[0].hash)-2", family)
        try await world.report([image.manifestDigest])
        let report = try await world.apply(droplets: 1)
        #expect(report.droplets == ["app/\(world.droplets[1].hash)"] && report.pinned == 1)
        #expect(try await world.house.image(world.guid, image.manifestDigest) == image.served)
    }

    @Test("nothing goes while a known cluster says nothing, or not all, or said it long ago, or none is known")
    func withheld() async throws {
        let world = try await World()
        #expect(try await world.apply(droplets: 1, rootfs: 1).withheld != nil, "no cluster is known")
        try await world.report(shard: 0, of: 2)
        #expect(try await world.apply(droplets: 1, rootfs: 1).withheld != nil, "half a report")
        try await world.report(shard: 1, of: 2)
        try await world.report(cluster: "west")
        world.clock.pass(3601)
        try await world.report(cluster: "west")
        #expect(try await world.apply(droplets: 1, rootfs: 1).withheld?.contains("east") == true)
        #expect(try await world.hashes.count == 3)
        try await world.pins.forget(try ClusterName("east"))
        let report = try await world.apply(droplets: 1, rootfs: 1)
        #expect(report.withheld == nil && report.droplets.count == 2)
    }

    @Test("rootfs versions go but for the newest, the current one, the one before it, and those that run")
    func rootfs() async throws {
        let world = try await World()
        try await world.report()
        #expect(try await world.apply(rootfs: 1, dryRun: true).rootfs == ["teststack/1"])
        let image = try await world.house.image("app", "\(world.droplets[2].hash)-1")
        try await world.report([image.manifestDigest])
        #expect(try await world.apply(rootfs: 1).rootfs.isEmpty)
        try await world.report()
        #expect(try await world.apply(rootfs: 1).rootfs == ["teststack/1"])
        #expect(try world.house.rootfs.versions(world.stack).map(\.version.text) == ["3", "2"])
        await #expect(throws: ImageError.self) {
            try await world.house.image("app", "\(world.droplets[2].hash)-1")
        }
        #expect(try await world.house.image(world.guid, image.manifestDigest) == nil)
        let again = try await TestHouse(store: world.house.store)
        #expect(try again.rootfs.versions(world.stack).map(\.version.text) == ["3", "2"], "after a restart too")
        await #expect(throws: ImageError.self) { try await again.promote("1") }
    }

    @Test("what could start again by a tag stays: its droplet, and the version that the tag names")
    func tags() async throws {
        let world = try await World()
        let (first, second) = (world.droplets[0], world.droplets[1])
        try await world.report(tags: ["app:\(first.hash)-1", "app:\(second.sha1)"])
        let report = try await world.apply(droplets: 1, rootfs: 1)
        #expect(report.droplets.isEmpty && report.rootfs.isEmpty && report.pinned == 3)
        try await world.report(tags: ["other:latest", "app:\(first.hash)", "elsewhere:\(second.hash)"])
        let later = try await world.apply(droplets: 1, rootfs: 1)
        #expect(later.droplets == ["app/\(second.hash)"] && later.rootfs == ["teststack/1"] && later.pinned == 1)
    }

    @Test("a tag that names no droplet keeps all of its app")
    func unknownTag() async throws {
        let world = try await World()
        try await world.report(tags: ["app:r-7-1"])
        let report = try await world.apply(droplets: 1, rootfs: 1)
        #expect(report.droplets.isEmpty && report.rootfs.isEmpty)
    }

    @Test("a runtime may call an image by its config")
    func configs() async throws {
        let world = try await World()
        let image = try await world.house.image("app", "\(world.droplets[0].hash)-1")
        try await world.report([image.configDigest])
        let report = try await world.apply(droplets: 1, rootfs: 1)
        #expect(report.droplets == ["app/\(world.droplets[1].hash)"] && report.rootfs.isEmpty && report.pinned == 2)
    }

    @Test("a cluster whose agent has enrolled is waited for, until it has reported or is forgotten")
    func enrolled() async throws {
        let world = try await World()
        try await world.report()
        let west = try ClusterName("west")
        let (secret, _) = try await world.clusters.add(west, labels: nil, by: "tester")
        #expect(try await world.apply(droplets: 1, dryRun: true).withheld == nil)
        #expect(try await world.clusters.exchange(secret, for: ClusterCatalog.makeSecret(), of: west) != nil)
        #expect(try await world.apply(droplets: 1).withheld?.contains("west") == true)
        #expect(try await world.hashes.count == 3)
        try await world.report(cluster: "west")
        #expect(try await world.apply(droplets: 1, dryRun: true).withheld == nil)
        try await world.pins.forget(west)
        #expect(try await world.apply(droplets: 1, dryRun: true).withheld != nil)
        try await world.clusters.forget(west)
        #expect(try await world.apply(droplets: 1).droplets.count == 2)
    }

    @Test("what a rollback leads to stays, however long ago it was current")
    func goingBack() async throws {
        let world = try await World()
        try await world.house.rootfs.rollBack(world.stack, by: "tester", reason: "")
        #expect(world.house.rootfs.rollbackTarget(world.stack)?.text == "1", "from 2, back from 3")
        try await world.report()
        #expect(try await world.apply(rootfs: 1).rootfs.isEmpty)
        try await world.house.rootfs.rollBack(world.stack, by: "tester", reason: "")
        #expect(try world.house.rootfs.current(world.stack).text == "1")
    }

    @Test("what is current can't be removed")
    func current() async throws {
        let world = try await World()
        await #expect(throws: ImageError.self) {
            try await world.house.images.remove(world.stack, try VersionName("3"))
        }
        #expect(try await !world.house.image("app", world.droplets[0].hash).manifest.isEmpty)
    }
}
