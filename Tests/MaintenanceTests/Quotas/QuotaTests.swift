import Blobs
import Maintenance
import OCI
import ObjectStore
import RegistryTesting
import TestSupport
import Testing

@testable import Registry

@Suite("Quotas of repositories", .timeLimit(.minutes(5)))
struct QuotaTests {
    @Test("what fits exactly is taken; one byte more is refused, with the limit, what is used and what was asked for")
    func boundary() async throws {
        let world = try await QuotaWorld.counted(["team/": 1000])
        try await world.push(QuotaWorld.noise(600), to: "team/a")
        try await world.push(QuotaWorld.noise(400), to: "team/b")
        #expect(try world.used("team/") == 1000)
        let denial = try await expectDenial { try await world.push([1], to: "team/a") }
        #expect(
            denial?.description
                == "the quota of 'team/' is 1000 bytes: 1000 are used, 0 are held for uploads under way, and this needs "
                + "1 more. Delete what is not needed, or have the limit raised")
        #expect(try world.total("team/").denied == 1)
        #expect(try await world.contents().count == 2, "nothing of the refused one is kept")
        try await world.push(QuotaWorld.noise(5000), to: "other/a")
        #expect(try world.used("team/") == 1000, "another's content is not counted")
    }

    @Test("a declared length that does not fit is refused before a byte is taken", arguments: [true, false])
    func declared(isChunk: Bool) async throws {
        struct Untouched: AsyncSequence, AsyncIteratorProtocol, Sendable {
            let asked: Calls
            func makeAsyncIterator() -> Self { self }
            mutating func next() async throws -> [UInt8]? {
                try asked.make(.read, nil)
                return nil
            }
        }
        let world = try await QuotaWorld.counted(["team/": 1000])
        let owner = try world.owner("team/a")
        let asked = Calls()
        let id = try world.uploads.begin(owner, .sha256)
        try await expectDenial {
            try await world.uploads.append(
                id, owner, isChunk ? 0..<1001 : nil, Untouched(asked: asked), length: isChunk ? nil : 1001)
        }
        #expect(asked.made == [])
        #expect(world.uploads.count == 0)
        #expect(try world.total("team/").reserved == 0)
    }

    @Test("a stream of unknown length is cut off where the quota ends, and nothing of it is kept")
    func stream() async throws {
        let limit: Int64 = 1 << 20
        let world = try await QuotaWorld.counted(["team/": limit])
        let owner = try world.owner("team/a")
        let id = try world.uploads.begin(owner, .sha256)
        let taken = Sum()
        let stream = AsyncStream<[UInt8]> { () async -> [UInt8]? in
            taken.add(1)
            return [UInt8](repeating: 1, count: 64 << 10)
        }
        try await expectDenial { try await world.uploads.append(id, owner, nil, stream) }
        #expect(taken.value <= 16 + 4, "at most a batch is read beyond it")
        #expect(try await world.contents().count == 0)
        #expect(try world.total("team/").reserved == 0)
    }

    @Test("an upload holds its bytes while it is under way, and gives them back however it ends")
    func givenBack() async throws {
        struct Failed: Error {}
        let world = try await QuotaWorld.counted(["team/": 1000])
        let owner = try world.owner("team/a")
        let bytes = QuotaWorld.noise(300)

        let cancelled = try world.uploads.begin(owner, .sha256)
        _ = try await world.uploads.append(cancelled, owner, nil, AsyncElements([bytes]))
        #expect(try world.held("team/") == 300)
        try await expectDenial { try await world.push(QuotaWorld.noise(701), to: "team/b") }
        try await world.uploads.cancel(cancelled, owner)
        #expect(try world.held("team/") == 0)

        // The sender announces more than it sends, and goes away.
        let broken = try world.uploads.begin(owner, .sha256)
        let (body, sender) = AsyncThrowingStream<[UInt8], any Error>.makeStream()
        sender.yield(bytes)
        sender.finish(throwing: Failed())
        await #expect(throws: RegistryError.self) {
            try await world.uploads.append(broken, owner, nil, body, length: 900)
        }
        #expect(try world.held("team/") == 300, "what it sent can still be gone on with")
        world.pass(3601)
        await world.uploads.expire()
        #expect(try world.held("team/") == 0)

        await #expect(throws: RegistryError.self) {
            try await world.uploads.take(owner, AsyncElements([bytes]), length: 300, as: Digest.of([1]))
        }
        #expect(try world.held("team/") == 0, "another digest than announced")
        #expect(try world.used("team/") == 0)

        try await world.push(bytes, to: "team/a")
        #expect(try world.held("team/") == 0)
        #expect(try world.used("team/") == 300)
    }

    @Test("a session that nobody has any more holds nothing")
    func dropped() async throws {
        let world = try await QuotaWorld.counted(["team/": 1000])
        do {
            let reservation = world.quotas.reservation(for: try RepositoryName(parsing: "team/a"))
            try await reservation.cover(1000)
            #expect(try world.total("team/").reserved == 1000)
            withExtendedLifetime(reservation) {}
        }
        #expect(try world.total("team/").reserved == 0)
    }

    @Test("what a repository has already costs nothing; what it mounts, and its manifests, cost as if they were pushed")
    func everyWayIn() async throws {
        let world = try await QuotaWorld.counted(["team/": 2000])
        let bytes = QuotaWorld.noise(600)
        let layer = try await world.push(bytes, to: "team/a")
        try await world.push(bytes, to: "team/a")
        #expect(try world.used("team/") == 600)
        let (source, target) = (try RepositoryName(parsing: "team/a"), try RepositoryName(parsing: "team/b"))
        _ = try await world.registry.mount(layer, from: source, to: target)
        _ = try await world.registry.mount(layer, from: source, to: target)
        #expect(try world.used("team/") == 1200)
        let manifest = world.manifest([layer], size: 700)
        try await world.put(manifest, to: "team/a", "one")
        try await world.put(manifest, to: "team/a", "two")
        #expect(try world.used("team/") == 1900)
        try await expectDenial { try await world.put(manifest, to: "team/b", "one") }
        let third = try RepositoryName(parsing: "team/c")
        let denial = try await expectDenial { try await world.registry.mount(layer, from: source, to: third) }
        #expect(denial?.asked == 600)
        #expect(try await !world.registry.exists(third))
        try await world.counter.count()
        #expect(try world.used("team/") == 1900, "a count finds the same")
    }

    @Test("a repository is held to all quotas that cover it")
    func overlapping() async throws {
        let world = try await QuotaWorld.counted(["team/": 1000, "team/a": 300])
        try await world.push(QuotaWorld.noise(300), to: "team/a")
        let narrow = try await expectDenial { try await world.push([1], to: "team/a") }
        #expect(narrow?.repositories == "team/a")
        try await world.push(QuotaWorld.noise(700), to: "team/b")
        let wide = try await expectDenial { try await world.push([1], to: "team/b") }
        #expect(wide?.repositories == "team/")
    }

    @Test(
        "eight that push at once never get past the limit, and as many come through as fit", arguments: [true, false])
    func pushers(declared: Bool) async throws {
        let size: Int64 = 10_000
        let limit = 20 * size + size / 2
        let world = try await QuotaWorld.counted(["team/": limit])
        let taken = Sum()
        let highest = Sum()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for pusher in 0..<8 {
                group.addTask {
                    for _ in 0..<8 {
                        let bytes = QuotaWorld.noise(Int(size))
                        do {
                            try await world.push(bytes, to: "team/\(pusher)", declared: declared)
                            taken.add(1)
                        } catch RegistryError.blob(.overQuota) {}
                        let total = try world.total("team/")
                        highest.raise(to: (total.used ?? 0) + total.reserved)
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(highest.value <= limit)
        #expect(taken.value <= 20)
        // Those under way may have stood in each other's way: now there is room for what fits.
        while taken.value < 20 {
            try await world.push(QuotaWorld.noise(Int(size)), to: "team/x", declared: declared)
            taken.add(1)
        }
        try await expectDenial { try await world.push(QuotaWorld.noise(Int(size)), to: "team/x") }
        #expect(try world.used("team/") == 20 * size)
        try await world.counter.count()
        #expect(try world.used("team/") == 20 * size)
        #expect(try world.total("team/").reserved == 0)
    }

    @Test("other quotas are in force at once, also for what is under way; one that is new waits for a count")
    func reloaded() async throws {
        let world = try await QuotaWorld.counted(["team/": 1000])
        let owner = try world.owner("team/a")
        try await world.push(QuotaWorld.noise(500), to: "team/a")
        let id = try world.uploads.begin(owner, .sha256)
        _ = try await world.uploads.append(id, owner, nil, AsyncElements([QuotaWorld.noise(200)]))

        world.quotas.replace(QuotaWorld.quotas(["team/": 700]))
        try await expectDenial { try await world.push([1], to: "team/b") }
        world.quotas.replace(QuotaWorld.quotas(["team/": 800]))
        try await world.push(QuotaWorld.noise(100), to: "team/b")

        world.quotas.replace(QuotaWorld.quotas(["team/": 800, "team/a": 900]))
        #expect(try world.used("team/a") == nil)
        #expect(try world.total("team/a").reserved == 200)
        #expect(world.quotas.isCountDue(now: .now + .seconds(2)))
        async let waiting = world.uploads.append(id, owner, nil, AsyncElements([[1]]), length: 1)
        world.quotas.replace(QuotaWorld.quotas(["team/": 2000, "team/a": 900]))
        try await world.counter.count()
        #expect(try await waiting == 201)
        #expect(try world.used("team/a") == 500)
        try await expectDenial { try await world.push(QuotaWorld.noise(200), to: "team/a") }

        world.quotas.replace([])
        try await world.push(QuotaWorld.noise(100_000), to: "team/a")
        #expect(world.quotas.usage.quotas.isEmpty)
    }
}
