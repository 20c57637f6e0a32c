import Blobs
import OCI
import ObjectStore
import RegistryTesting
import TestSupport
import Testing

@testable import Maintenance
@testable import Registry

@Suite("The store's limit", .timeLimit(.minutes(5)))
struct StoreLimitTests {
    /// In thousands of bytes: what records hold, and what has objects of its own.
    private static let units = [1, 100]

    @Test(
        "content is taken up to the last byte, shared content once, and what is refused leaves nothing",
        arguments: units)
    func boundary(unit: Int) async throws {
        let world = try await QuotaWorld.counted(storeLimit: Int64(1000 * unit))
        let bytes = QuotaWorld.noise(600 * unit)
        try await world.push(bytes, to: "a/a")
        #expect(world.quotas.usage.store.used == Int64(600 * unit))
        let again = try await expectDenial { try await world.push(bytes, to: "a/b") }
        #expect(again?.repositories == nil)
        let denial = "the store's limit is \(1000 * unit) bytes: \(600 * unit) are used"
        #expect(again?.description.hasPrefix(denial) == true)
        _ = try await world.registry.mount(
            Digest.of(bytes), from: try RepositoryName(parsing: "a/a"), to: try RepositoryName(parsing: "a/b"))
        try await world.push(QuotaWorld.noise(400 * unit), to: "a/c", declared: false)
        try await expectDenial { try await world.push([1], to: "a/c", declared: false) }
        try await expectDenial { try await world.put(world.manifest([], size: 300 * unit), to: "a/c", "1") }
        #expect(world.quotas.usage.store.used == Int64(1000 * unit))
        #expect(world.quotas.usage.store.reserved == 0)
        #expect(try await world.contents().bytes == Int64(1000 * unit))
    }

    @Test("what turns out to be there already is given back", arguments: units)
    func twice(unit: Int) async throws {
        let world = try await QuotaWorld.counted(storeLimit: Int64(1000 * unit))
        let bytes = QuotaWorld.noise(400 * unit)
        for name in ["a/a", "a/b", "a/c", "a/d"] { try await world.push(bytes, to: name) }
        #expect(world.quotas.usage.store.used == Int64(400 * unit))
        try await world.counter.count()
        #expect(world.quotas.usage.store.used == Int64(400 * unit))
    }

    @Test("collected content makes room at once", arguments: units)
    func collected(unit: Int) async throws {
        let world = try await QuotaWorld.counted(storeLimit: Int64(1000 * unit))
        try await world.push(QuotaWorld.noise(1000 * unit), to: "a/a")
        try await expectDenial { try await world.push([1], to: "a/a") }
        world.pass(3700)
        let collector = GarbageCollector(
            owners: world.owners, blobs: world.blobs, reading: world.store, clockSkew: 0)
        let report = try await collector.collect()
        #expect(report.retired == 1)
        #expect(world.quotas.usage.store.used == 0)
        try await world.push(QuotaWorld.noise(1000 * unit), to: "a/a")
    }

    @Test("uploads hold their bytes of the store too, and give them back")
    func uploads() async throws {
        let world = try await QuotaWorld.counted(storeLimit: 1 << 20)
        let owner = try world.owner("a/a")
        let id = try world.uploads.begin(owner, .sha256)
        _ = try await world.uploads.append(id, owner, nil, AsyncElements([QuotaWorld.noise(1 << 19)]))
        #expect(world.quotas.usage.store.reserved == 1 << 19)
        try await expectDenial { try await world.push(QuotaWorld.noise((1 << 19) + 1), to: "a/b") }
        try await world.uploads.cancel(id, owner)
        #expect(world.quotas.usage.store.reserved == 0)
        try await world.push(QuotaWorld.noise(1 << 20), to: "a/b")
    }

    @Test("a count among pushes and deletions ends at what is there", arguments: [500, 5000])
    func during(size: Int) async throws {
        let world = try await QuotaWorld.counted(storeLimit: 1 << 40)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for pusher in 0..<4 {
                group.addTask {
                    for _ in 0..<100 {
                        try await world.push(QuotaWorld.noise(size), to: "a/\(pusher)")
                    }
                }
            }
            group.addTask { for _ in 0..<20 { try await world.counter.count() } }
            try await group.waitForAll()
        }
        #expect(world.quotas.usage.store.used == Int64(400 * size), "content is neither missed nor counted twice")
    }
}
