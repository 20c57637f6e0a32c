import Blobs
import OCI
import ObjectStore
import Synchronization
import TestSupport
import Testing

@Suite("Bytes that are taken in", .timeLimit(.minutes(5)))
struct IngestTests {
    /// Content that its record holds, content that has an object of its own, and two batches of it.
    private static let sizes = [0, 1, 3968, 3969, 600_000]

    private static func content(_ size: Int) -> [UInt8] { [UInt8](repeating: 7, count: size) }

    @Test("in portions they become a blob of either algorithm", arguments: sizes, DigestAlgorithm.allCases)
    func whole(size: Int, algorithm: DigestAlgorithm) async throws {
        let world = try await IngestWorld()
        let bytes = Self.content(size)
        for wanted in DigestAlgorithm.allCases {
            var ingest = BlobIngest(into: world.blobs, algorithm, hashesSHA1: true, reservation: world.reservation())
            try await ingest.append(Chunks(Array(bytes[..<(size / 2)])))
            try await ingest.rest()
            for byte in bytes[(size / 2)...].prefix(1) { try await ingest.append([byte]) }
            try await ingest.append(Chunks(Array(bytes[(size / 2)...].dropFirst())))
            #expect(ingest.size == size && ingest.digest == Digest.of(bytes, algorithm))
            var sha1 = SHA1Hasher()
            bytes.withUnsafeBytes { sha1.update($0) }
            #expect(ingest.sha1 == sha1.finish())
            let digest = Digest.of(bytes, wanted)
            #expect(try await ingest.commit(as: digest).size == size)
            #expect(try await world.blobs.read(digest, maximum: size) == bytes)
        }
    }

    @Test("with another checksum than was announced they are nothing, and nothing is held", arguments: sizes)
    func mismatch(size: Int) async throws {
        let world = try await IngestWorld()
        for wanted in [Digest.of([8]), Digest.of([8], .sha512)] {
            var ingest = BlobIngest(into: world.blobs, hashesSHA1: true, reservation: world.reservation())
            try await ingest.append(Chunks(Self.content(size)), length: Int64(size))
            #expect(throws: IngestError.self) { try ingest.check(.digest(wanted)) }
            #expect(throws: IngestError.self) { try ingest.check(.sha1(String(repeating: "0", count: 40))) }
            let error = await #expect(throws: IngestError.self) { _ = try await ingest.commit(as: wanted) }
            let actual = Digest.of(Self.content(size), wanted.algorithm)
            ingest = BlobIngest(into: nil)
            guard case .mismatch(.digest(wanted), .digest(actual))? = error else {
                Issue.record("\(String(describing: error))")
                continue
            }
            try await world.expectNothing()
        }
    }

    @Test("what came before a sender broke off is kept and goes on, or is given up", arguments: [1, 3500, 300_000])
    func gone(place: Int) async throws {
        let world = try await IngestWorld()
        let bytes = Self.content(place + 10_000)
        for isGivenUp in [true, false] {
            var ingest = BlobIngest(into: world.blobs, reservation: world.reservation())
            let error = await #expect(throws: IngestError.self) {
                try await ingest.append(Chunks(bytes, breaksAt: place), length: Int64(bytes.count))
            }
            guard case .input? = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            let came = Int(ingest.size)
            #expect(came >= place && came < bytes.count)
            #expect(world.held == came, "what was announced and did not come is given back")
            if isGivenUp {
                await ingest.abort()
                ingest = BlobIngest(into: nil)
                try await world.expectNothing()
            } else {
                try await ingest.append(Chunks(Array(bytes[came...])))
                _ = try await ingest.commit(as: Digest.of(bytes))
                #expect(try await world.blobs.read(Digest.of(bytes), maximum: bytes.count) == bytes)
            }
        }
    }

    @Test("more than fits is refused: before the first byte if its length is known, and else before it is written")
    func overQuota() async throws {
        for limits in [(repository: 100_000, store: 1_000_000), (repository: 1_000_000, store: 100_000)] {
            for length in [nil, Int64(600_000)] {
                let world = try await IngestWorld(repository: limits.repository, store: limits.store)
                let taken = Mutex(0)
                var ingest: BlobIngest? = BlobIngest(into: world.blobs, reservation: world.reservation())
                let error = await #expect(throws: IngestError.self) {
                    let body = Counted(Chunks(Self.content(600_000))) { taken.withLock { $0 += 1 } }
                    try await ingest?.append(body, length: length)
                }
                guard case .blob(.overQuota)? = error else {
                    Issue.record("\(String(describing: error))")
                    return
                }
                #expect((taken.withLock { $0 } == 0) == (length != nil))
                await ingest?.abort()
                ingest = nil
                try await world.expectNothing()
            }
        }
    }

    @Test("more than the maximum, or than belongs to a portion, is refused", arguments: [5000, 300_000])
    func tooLarge(maximum: Int64) async throws {
        let world = try await IngestWorld()
        for (maximum, end) in [(maximum, .max), (.max, maximum)] as [(Int64, Int64)] {
            var ingest = BlobIngest(into: world.blobs, maximum: maximum)
            let limit = min(maximum, end)
            let error = await #expect(throws: IngestError.self) {
                try await ingest.append(Chunks(Self.content(Int(limit) + 1)), to: end)
            }
            guard case .tooLarge(limit + 1)? = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            await ingest.abort()
            try await world.expectNothing()
        }
    }

    @Test(
        "whichever call a store fails, they are there whole or not at all, nothing is left or held, and a retry succeeds",
        arguments: sizes, [ObjectStoreError.full, .io("the disk")])
    func failing(size: Int, error: ObjectStoreError) async throws {
        let bytes = Self.content(size)
        var number = 0
        while true {
            let world = try await IngestWorld()
            world.script.set(Script(failing: number, with: error))
            let isDone = (try? await world.ingest(bytes)) != nil
            let hadItsTurn = world.script.calls > number
            world.script.set(Script())
            #expect(isDone != hadItsTurn, "call \(number)")
            if isDone { break }
            try await world.expectNothing()
            try await world.ingest(bytes)
            #expect(try await world.blobs.read(Digest.of(bytes), maximum: size) == bytes)
            number += 1
        }
        #expect(number > 0)
    }

    @Test(
        "whichever write's answer is lost, or comes late, nothing loses its bytes, they are counted, and a retry succeeds",
        arguments: sizes, [InstrumentedObjectStore.Answer.lost, .late])
    func lost(size: Int, answer: InstrumentedObjectStore.Answer) async throws {
        let bytes = Self.content(size)
        for isBlind in [false, true] {
            for arrivesFirst in [false, true] {
                var number = 0
                while true {
                    let world = try await IngestWorld()
                    world.script.set(Script(losing: number, answer, blinding: isBlind))
                    try? await world.ingest(bytes)
                    let hadItsTurn = world.script.changes > number
                    world.script.set(Script())
                    if arrivesFirst { await world.store.arrive() }
                    try await world.expectWhole("before the retry of \(number)")
                    try await world.ingest(bytes)
                    await world.store.arrive()
                    try await world.expectWhole("after the retry of \(number)")
                    #expect(try await world.blobs.read(Digest.of(bytes), maximum: size) == bytes)
                    guard hadItsTurn else { break }
                    number += 1
                }
                #expect(number > 0)
            }
        }
    }
}

/// A store that can be made to fail, with a limit of its own and one of a repository.
private struct IngestWorld {
    let memory = MemoryObjectStore()
    let store: InstrumentedObjectStore
    let script = ScriptHolder()
    let blobs: BlobStore
    let quotas: QuotaLedger
    private let name: RepositoryName

    init(repository: Int = 10 << 20, store limit: Int = 10 << 20) async throws {
        let script = script
        store = InstrumentedObjectStore(memory) { (operation, _) throws(ObjectStoreError) in
            try script.make(operation)
        } loss: { operation, _ in
            script.answer(operation)
        }
        quotas = QuotaLedger(storeLimit: Int64(limit))
        quotas.replace([Quota(repositories: "a/**", bytes: Int64(repository)) { _ in true }])
        blobs = BlobStore(store: store, now: { 1 }, quotas: quotas)
        name = try RepositoryName(parsing: "a/b")
        _ = try await quotas.count(now: { 1 }) { (_: QuotaCount) throws(BlobError) in }
    }

    func reservation() -> QuotaReservation { quotas.reservation(for: name) }

    /// Bytes that are held for the repository.
    var held: Int { Int(quotas.usage.quotas.first?.total.reserved ?? -1) }

    func ingest(_ bytes: [UInt8]) async throws {
        var ingest = BlobIngest(into: blobs, reservation: reservation())
        do {
            var chunks = Chunks(bytes)
            chunks.size = 100_000
            try await ingest.append(chunks)
        } catch {
            await ingest.abort()
            throw error
        }
        _ = try await ingest.commit(as: Digest.of(bytes))
    }

    /// Nothing is in the store, held or counted.
    func expectNothing() async throws {
        #expect(try await memory.list(prefix: "", startAfter: nil, limit: 10).map(\.key) == [])
        #expect(quotas.usage.store.reserved == 0 && quotas.usage.store.used == 0)
        #expect(held == 0)
    }

    /// Every record has its bytes, and what is in the store is counted.
    func expectWhole(_ when: Comment) async throws {
        var walk = BlobWalk(in: memory)
        while let digests = try await walk.next() {
            for digest in digests {
                let condition = try await blobs.check(digest, in: memory) { _ in }
                if case .damaged(let reason) = condition { Issue.record("\(when): \(reason)") }
            }
        }
        let data = try await memory.list(prefix: "data/", startAfter: nil, limit: 100).reduce(0) { $0 + $1.size }
        #expect(quotas.usage.store.used ?? 0 >= data, when)
        #expect(quotas.usage.store.reserved == 0 && held == 0, when)
    }
}

/// What becomes of calls, by their number.
private struct Script: Sendable {
    var failing: Int?
    var error = ObjectStoreError.full
    var losing: Int?
    var loss = InstrumentedObjectStore.Answer.given
    /// After the loss nothing can be read.
    var isBlinding = false
    var calls = 0
    var changes = 0

    init() {}

    init(failing: Int, with error: ObjectStoreError) {
        self.failing = failing
        self.error = error
    }

    init(losing: Int, _ loss: InstrumentedObjectStore.Answer, blinding: Bool) {
        self.losing = losing
        self.loss = loss
        isBlinding = blinding
    }
}

private final class ScriptHolder: Sendable {
    private static let reads: [ObjectOperation] = [.get, .head, .list, .listComponents, .open, .read, .presign]
    private let script = Mutex(Script())

    var calls: Int { script.withLock { $0.calls } }
    var changes: Int { script.withLock { $0.changes } }
    func set(_ new: Script) { script.withLock { $0 = new } }

    func make(_ operation: ObjectOperation) throws(ObjectStoreError) {
        try script.withLock { (script) throws(ObjectStoreError) in
            // What is thrown away is not needed: a failure leaves garbage, which counts until it is collected.
            guard operation != .delete else { return }
            defer { script.calls += 1 }
            if script.calls == script.failing { throw script.error }
            if script.isBlinding, let losing = script.losing, script.changes > losing, Self.reads.contains(operation) {
                throw .io("blind")
            }
        }
    }

    func answer(_ operation: ObjectOperation) -> InstrumentedObjectStore.Answer {
        script.withLock { script in
            guard !Self.reads.contains(operation) else { return .given }
            defer { script.changes += 1 }
            return script.changes == script.losing ? script.loss : .given
        }
    }
}

/// Tells of each chunk that is asked for.
private struct Counted: AsyncSequence {
    let chunks: Chunks
    let tell: @Sendable () -> Void

    init(_ chunks: Chunks, _ tell: @escaping @Sendable () -> Void) {
        self.chunks = chunks
        self.tell = tell
    }

    func makeAsyncIterator() -> Iterator { Iterator(base: chunks.makeAsyncIterator(), tell: tell) }

    struct Iterator: AsyncIteratorProtocol {
        var base: Chunks.Iterator
        let tell: @Sendable () -> Void

        mutating func next() async throws -> [UInt8]? {
            tell()
            return try await base.next()
        }
    }
}
