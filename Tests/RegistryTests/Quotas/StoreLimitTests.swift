import Blobs
import OCI
import ObjectStore
import Testing

@testable import Registry

@Suite("The store's limit", .timeLimit(.minutes(5)))
struct StoreLimitTests {
    @Test("content is taken up to the last byte, shared content once, and what is refused leaves nothing")
    func boundary() async throws {
        let world = try await QuotaWorld.counted(storeLimit: 1000)
        let bytes = QuotaWorld.noise(600)
        try await world.push(bytes, to: "a/a")
        #expect(world.quotas.usage.store.used == 600)
        let again = try await expectDenial { try await world.push(bytes, to: "a/b") }
        #expect(again?.repositories == nil)
        #expect(again?.description.hasPrefix("the store's limit is 1000 bytes: 600 are used") == true)
        _ = try await world.registry.mount(
            Digest.of(bytes), from: try RepositoryName(parsing: "a/a"), to: try RepositoryName(parsing: "a/b"))
        try await world.push(QuotaWorld.noise(400), to: "a/c", declared: false)
        try await expectDenial { try await world.push([1], to: "a/c", declared: false) }
        try await expectDenial { try await world.put(world.manifest([], size: 300), to: "a/c", "1") }
        #expect(world.quotas.usage.store.used == 1000)
        #expect(world.quotas.usage.store.reserved == 0)
        #expect(try await world.data().bytes == 1000)
    }

    @Test("what turns out to be there already is given back")
    func twice() async throws {
        let world = try await QuotaWorld.counted(storeLimit: 1000)
        let bytes = QuotaWorld.noise(400)
        for name in ["a/a", "a/b", "a/c", "a/d"] { try await world.push(bytes, to: name) }
        #expect(world.quotas.usage.store.used == 400)
        try await world.counter.count()
        #expect(world.quotas.usage.store.used == 400)
    }

    @Test("collected content makes room at once")
    func collected() async throws {
        let world = try await QuotaWorld.counted(storeLimit: 1000)
        try await world.push(QuotaWorld.noise(1000), to: "a/a")
        try await expectDenial { try await world.push([1], to: "a/a") }
        world.pass(3700)
        let collector = GarbageCollector(
            registry: world.registry, blobs: world.blobs, reading: world.store, clockSkew: 0)
        let report = try await collector.collect(roots: Chunks<[Digest]>([]))
        #expect(report.retired == 1)
        #expect(world.quotas.usage.store.used == 0)
        try await world.push(QuotaWorld.noise(1000), to: "a/a")
    }

    @Test("uploads hold their bytes of the store too, and give them back")
    func uploads() async throws {
        let world = try await QuotaWorld.counted(storeLimit: 1 << 20)
        let owner = try world.owner("a/a")
        let id = try world.uploads.begin(owner, .sha256)
        _ = try await world.uploads.append(id, owner, nil, Chunks([QuotaWorld.noise(1 << 19)]))
        #expect(world.quotas.usage.store.reserved == 1 << 19)
        try await expectDenial { try await world.push(QuotaWorld.noise((1 << 19) + 1), to: "a/b") }
        try await world.uploads.cancel(id, owner)
        #expect(world.quotas.usage.store.reserved == 0)
        try await world.push(QuotaWorld.noise(1 << 20), to: "a/b")
    }

    @Test("a count among pushes and deletions ends at what is there")
    func during() async throws {
        let world = try await QuotaWorld.counted(storeLimit: 1 << 40)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for pusher in 0..<4 {
                group.addTask {
                    for _ in 0..<100 {
                        try await world.push(QuotaWorld.noise(500), to: "a/\(pusher)")
                    }
                }
            }
            group.addTask { for _ in 0..<20 { try await world.counter.count() } }
            try await group.waitForAll()
        }
        #expect(world.quotas.usage.store.used == 200_000, "bytes below data/ are neither missed nor counted twice")
    }
}
