import OCI
import ObjectStore
import RegistryTesting
import TestSupport
import Testing

@testable import Registry

@Suite("Uploads under way")
struct UploadTests {
    private static let nothing = AsyncElements<[UInt8]>([])

    @Test(
        "what rests for longer than its lifetime is forgotten with its bytes; what is touched is not",
        arguments: Content.allCases)
    func expiry(content: Content) async throws {
        let world = try PushWorld()
        let bytes = content.bytes("1")
        let owner = world.owner()
        let resting = try world.uploads.begin(owner, .sha256)
        let touched = try world.uploads.begin(owner, .sha256)
        _ = try await world.uploads.append(resting, owner, nil, AsyncElements([bytes]))
        world.pass(3599)
        await world.uploads.expire()
        #expect(world.uploads.count == 2)
        _ = try await world.uploads.append(touched, owner, nil, AsyncElements([bytes]))
        world.pass(2)
        await world.uploads.expire()
        #expect(world.uploads.count == 1)
        #expect(throws: RegistryError.self) { try world.uploads.received(resting, owner) }
        await #expect(throws: RegistryError.self) {
            try await world.uploads.append(resting, owner, nil, Self.nothing)
        }
        _ = try await world.uploads.finish(touched, owner, nil, Self.nothing, as: Digest.of(bytes))
        #expect(try await world.blob(Digest.of(bytes)) == bytes)
        #expect(try await world.contents() == 1, "the forgotten one left nothing")
    }

    @Test("an upload that somebody writes to does not expire, however slowly it comes")
    func slow() async throws {
        let world = try PushWorld()
        let owner = world.owner()
        let id = try world.uploads.begin(owner, .sha256)
        let (body, sender) = AsyncStream<[UInt8]>.makeStream()
        async let received = world.uploads.append(id, owner, nil, body)
        // So much that it is written before more comes.
        let first = [UInt8](repeating: 1, count: 1 << 20)
        sender.yield(first)
        let deadline = ContinuousClock.now + .seconds(60)
        while world.calls.index(.write, "data/") == nil {
            try #require(ContinuousClock.now < deadline)
            await Task.yield()
        }
        world.pass(100_000)
        await world.uploads.expire()
        #expect(world.uploads.count == 1)
        sender.yield([2])
        sender.finish()
        #expect(try await received == (1 << 20) + 1)
        await world.uploads.expire()
        _ = try await world.uploads.finish(id, owner, nil, Self.nothing, as: Digest.of(first + [2]))
    }

    @Test("there are so many at a time, of one user and of all, and one that ends makes room")
    func limits() async throws {
        var limits = UploadSessions.Limits()
        limits.total = 3
        limits.ofOneUser = 2
        let world = try PushWorld(limits: limits)
        let (one, two) = (world.owner("one"), world.owner("two"))
        func refuses(_ owner: UploadOwner) {
            let error = #expect(throws: RegistryError.self) { try world.uploads.begin(owner, .sha256) }
            guard case .tooManyUploads? = error else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
        let first = try world.uploads.begin(one, .sha256)
        _ = try world.uploads.begin(one, .sha256)
        refuses(one)
        _ = try world.uploads.begin(two, .sha256)
        refuses(two)
        try await world.uploads.cancel(first, one)
        _ = try world.uploads.begin(two, .sha256)
        refuses(one)
    }

    @Test("two users who take all places lock nobody out: who has fewer gets the place that was left alone for longest")
    func fairness() async throws {
        var limits = UploadSessions.Limits()
        limits.total = 8
        limits.ofOneUser = 4
        let world = try PushWorld(limits: limits)
        let floods = ["flood", "flood too"].map { world.owner($0) }
        var begun: [UploadID] = []
        for owner in floods {
            for _ in 0..<4 {
                world.pass(1)
                begun.append(try world.uploads.begin(owner, .sha256))
            }
        }
        let push = Content.inObject.bytes("somebody's")
        _ = try await world.uploads.take(world.owner("somebody"), AsyncElements([push]), as: Digest.of(push))
        // The oldest one of a user with most of them went.
        #expect(throws: RegistryError.self) { try world.uploads.received(begun[0], floods[0]) }
        for (number, id) in begun.enumerated().dropFirst() {
            #expect(try world.uploads.received(id, floods[number / 4]) == 0)
        }
        // Those with most of them get no more by that.
        #expect(throws: RegistryError.self) { try world.uploads.begin(floods[1], .sha256) }
    }

    @Test("when all places are taken and nobody has too many, operators find theirs")
    func reserve() async throws {
        var limits = UploadSessions.Limits()
        limits.total = 3
        limits.reserve = 1
        let world = try PushWorld(limits: limits)
        for user in ["a", "b", "c"] { _ = try world.uploads.begin(world.owner(user), .sha256) }
        #expect(throws: RegistryError.self) { try world.uploads.begin(world.owner("d"), .sha256) }
        _ = try world.uploads.begin(world.owner("operator"), .sha256, usesReserve: true)
        #expect(throws: RegistryError.self) {
            try world.uploads.begin(world.owner("operator too"), .sha256, usesReserve: true)
        }
        #expect(world.uploads.count == 4)
    }

    @Test("an upload that rests between its chunks holds no file open")
    func resting() async throws {
        let world = try PushWorld()
        let owner = world.owner()
        let bytes = Content.inObject.bytes("")
        let id = try world.uploads.begin(owner, .sha256)
        _ = try await world.uploads.append(id, owner, nil, AsyncElements([bytes]))
        #expect(world.calls.made.last?.operation == .rest)
        _ = try await world.uploads.finish(id, owner, nil, AsyncElements([bytes]), as: Digest.of(bytes + bytes))
        #expect(try await world.blob(Digest.of(bytes + bytes)) == bytes + bytes)
    }

    @Test("a blob over the limit is refused, and nothing of it stays", arguments: [10, 5000], [false, true])
    func size(limit: Int, isChunk: Bool) async throws {
        var limits = UploadSessions.Limits()
        limits.size = Int64(limit)
        let world = try PushWorld(limits: limits)
        let owner = world.owner()
        let id = try world.uploads.begin(owner, .sha256)
        let large = AsyncElements([[UInt8](repeating: 0, count: limit), [1]])
        let error = await #expect(throws: RegistryError.self) {
            try await world.uploads.append(id, owner, isChunk ? 0..<Int64(limit + 1) : nil, large)
        }
        guard case .tooLarge(maximum: limits.size)? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(world.uploads.count == 0)
        let exact = [UInt8](repeating: 7, count: limit)
        _ = try await world.uploads.take(owner, AsyncElements([exact]), as: Digest.of(exact))
        #expect(try await world.contents() == 1)
    }

    @Test("an upload is its owner's: neither another user nor another repository finds it")
    func owner() async throws {
        let world = try PushWorld()
        let owner = world.owner("caf\u{E9}")
        let id = try world.uploads.begin(owner, .sha256)
        // The second one's name only looks like the owner's.
        for stranger in [
            world.owner("v"), world.owner("cafe\u{301}"), world.owner(of: try RepositoryName(parsing: "a/c")),
        ] {
            #expect(throws: RegistryError.self) { try world.uploads.received(id, stranger) }
            await #expect(throws: RegistryError.self) {
                try await world.uploads.append(id, stranger, nil, AsyncElements([[1]]))
            }
            await #expect(throws: RegistryError.self) {
                try await world.uploads.finish(id, stranger, nil, AsyncElements([[1]]), as: Digest.of([1]))
            }
            await #expect(throws: RegistryError.self) { try await world.uploads.cancel(id, stranger) }
        }
        #expect(try world.uploads.received(id, owner) == 0)
    }

    @Test("a sender that fails leaves what it sent, and a single request's upload nothing at all")
    func senderFails() async throws {
        struct Failed: Error {}
        let world = try PushWorld()
        let owner = world.owner()
        let id = try world.uploads.begin(owner, .sha256)
        func failing() -> AsyncThrowingStream<[UInt8], any Error> {
            AsyncThrowingStream { sender in
                sender.yield([1, 2])
                sender.finish(throwing: Failed())
            }
        }
        await #expect(throws: RegistryError.self) { try await world.uploads.append(id, owner, nil, failing()) }
        #expect(try world.uploads.received(id, owner) == 2)
        await #expect(throws: RegistryError.self) {
            try await world.uploads.finish(id, owner, nil, failing(), as: Digest.of([1, 2, 1, 2]))
        }
        #expect(try world.uploads.received(id, owner) == 4)
        _ = try await world.uploads.finish(id, owner, 4..<5, AsyncElements([[5]]), as: Digest.of([1, 2, 1, 2, 5]))
        await #expect(throws: RegistryError.self) {
            try await world.uploads.take(owner, failing(), as: Digest.of([1, 2]))
        }
        #expect(world.uploads.count == 0)
        #expect(try await world.blob(Digest.of([1, 2])) == nil)
    }
}
