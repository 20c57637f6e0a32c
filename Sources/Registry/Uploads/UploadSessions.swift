public import Blobs
public import OCI
import Synchronization

/// The name of an upload: a random UUID (OCI distribution specification, "Pushing blobs").
public struct UploadID: Hashable, Sendable, CustomStringConvertible {
    public let text: String

    static func random() -> UploadID {
        var generator = SystemRandomNumberGenerator()
        var bytes = (0..<16).map { _ in UInt8(truncatingIfNeeded: generator.next() as UInt64) }
        bytes[6] = bytes[6] & 0x0f | 0x40
        bytes[8] = bytes[8] & 0x3f | 0x80
        var text = ""
        for (index, byte) in bytes.enumerated() {
            if [4, 6, 8, 10].contains(index) { text += "-" }
            text += (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
        return UploadID(text: text)
    }

    private init(text: String) { self.text = text }

    /// What a client names; whether there is such an upload is another question.
    public init?(parsing text: String) {
        guard text.utf8.count == 36, text.utf8.allSatisfy({ "0123456789abcdef-".utf8.contains($0) }) else { return nil }
        self.text = text
    }

    public var description: String { text }
}

/// Whose an upload is: to everybody else it is not there.
public struct UploadOwner: Hashable, Sendable {
    let repository: RepositoryName
    /// The name's bytes: what only looks alike is another user.
    let user: [UInt8]

    public init(repository: RepositoryName, user: String) {
        self.repository = repository
        self.user = Array(user.utf8)
    }
}

/// An upload's bytes so far. One request at a time has it.
struct UploadSession: Sendable {
    let id: UploadID
    let owner: UploadOwner
    /// Of the repository's quotas: given back when nobody has the session any more.
    let reservation: QuotaReservation
    var ingest: BlobIngest

    init(
        id: UploadID, owner: UploadOwner, blobs: BlobStore, _ algorithm: DigestAlgorithm, maximum: Int64,
        _ reservation: QuotaReservation
    ) {
        self.id = id
        self.owner = owner
        self.reservation = reservation
        ingest = BlobIngest(into: blobs, algorithm, reservation: reservation, maximum: maximum)
    }
}

/// Blob uploads under way ("Pushing blobs" and "Pushing a blob in chunks").
///
/// They live in this process: a restart forgets them, and their clients begin again. Bytes are hashed and written as
/// they come; what is not finished within `Limits.lifetime` after its last byte is thrown away. An upload that nothing
/// comes for holds no file open.
///
/// Nobody locks others out: when all places are taken, somebody with fewer uploads gets the place that the user with most
/// of them has left alone for longest.
public final class UploadSessions: Sendable {
    public struct Limits: Sendable {
        /// Uploads under way, of everybody; and more of operators when these are taken.
        public var total = 2048
        public var reserve = 128
        /// Of one user.
        public var ofOneUser = 1024
        /// How long an upload rests before it is forgotten.
        public var lifetime: Duration = .seconds(3600)
        /// The largest blob, in bytes.
        public var size: Int64 = 64 << 30

        public init() {}
    }

    private struct State {
        var entries: [UploadID: Entry] = [:]
        var ofUser: [[UInt8]: Int] = [:]

        mutating func add(_ id: UploadID, _ entry: Entry) {
            entries[id] = entry
            ofUser[entry.owner.user, default: 0] += 1
        }

        @discardableResult
        mutating func remove(_ id: UploadID) -> UploadSession? {
            guard let entry = entries.removeValue(forKey: id) else { return nil }
            let user = entry.owner.user
            let left = (ofUser[user] ?? 1) - 1
            ofUser[user] = left == 0 ? nil : left
            return entry.session
        }

        /// The upload whose place somebody gets who has so many; nil if nobody has more than one more.
        func place(forOneWith own: Int) -> UploadID? {
            let most = ofUser.max { one, other in
                one.value == other.value
                    ? other.key.lexicographicallyPrecedes(one.key) : one.value < other.value
            }
            guard let (user, count) = most, count > own + 1 else { return nil }
            return entries.filter { $0.value.owner.user == user && $0.value.session != nil }
                .min { $0.value.used < $1.value.used }?.key
        }
    }

    private struct Entry {
        /// nil while a request has it.
        var session: UploadSession?
        let owner: UploadOwner
        var received: Int64
        var used: ContinuousClock.Instant
    }

    private let registry: Registry
    public let limits: Limits
    private let now: @Sendable () -> ContinuousClock.Instant
    private let state = Mutex(State())

    /// - Parameter now: the clock that lifetimes are counted by.
    public init(
        registry: Registry, limits: Limits = Limits(),
        now: @escaping @Sendable () -> ContinuousClock.Instant = { .now }
    ) {
        self.registry = registry
        self.limits = limits
        self.now = now
    }

    /// Uploads under way.
    public var count: Int { state.withLock { $0.entries.count } }

    /// Begins an upload.
    /// - Parameters:
    ///   - algorithm: of the digest that it will be finished with; another one costs a second reading.
    ///   - usesReserve: whether the places that are kept for operators may be taken.
    /// - Throws: `.tooManyUploads`.
    public func begin(
        _ owner: UploadOwner, _ algorithm: DigestAlgorithm, usesReserve: Bool = false
    ) throws(RegistryError) -> UploadID {
        let id = UploadID.random()
        let session = UploadSession(
            id: id, owner: owner, blobs: registry.blobs, algorithm, maximum: limits.size,
            registry.quotas.reservation(for: owner.repository))
        let entry = Entry(session: session, owner: owner, received: 0, used: now())
        // A session that loses its place is dropped outside the lock: its writer ends with the last reference.
        let (isTaken, _) = state.withLock { state -> (Bool, UploadSession?) in
            let own = state.ofUser[owner.user] ?? 0
            guard own < limits.ofOneUser else { return (false, nil) }
            var dropped: UploadSession?
            if state.entries.count >= limits.total + (usesReserve ? limits.reserve : 0) {
                guard let place = state.place(forOneWith: own) else { return (false, nil) }
                dropped = state.remove(place)
            }
            state.add(id, entry)
            return (true, dropped)
        }
        guard isTaken else { throw .tooManyUploads }
        return id
    }

    /// Bytes that were received up to now.
    /// - Throws: `.unknownUpload`.
    public func received(_ id: UploadID, _ owner: UploadOwner) throws(RegistryError) -> Int64 {
        guard let entry = state.withLock({ $0.entries[id] }), entry.owner == owner else { throw .unknownUpload }
        return entry.received
    }

    /// Adds bytes at the end. What came before the sender broke off is kept.
    /// - Parameters:
    ///   - chunk: where the sender says that the bytes belong.
    ///   - length: how many the sender says that there are, if it does: room for them is held before they are taken.
    /// - Returns: bytes received up to now.
    /// - Throws: `.unknownUpload`, `.busyUpload`, `.outOfOrder`, `.sizeMismatch`, `.tooLarge`, `.input`; `.blob` with
    ///   `.overQuota`, after which nothing is kept.
    public func append<Body: AsyncSequence>(
        _ id: UploadID, _ owner: UploadOwner, _ chunk: Range<Int64>?, _ body: Body, length: Int64? = nil
    ) async throws(RegistryError) -> Int64 where Body.Element == [UInt8] {
        var session = try claim(id, owner)
        try await receive(body, chunk, length, into: &session)
        try await give(session)
        return session.ingest.size
    }

    /// Adds the last bytes, if any, and makes everything a blob of the repository.
    /// - Throws: as `append`; `.mismatch`, after which nothing is kept.
    public func finish<Body: AsyncSequence>(
        _ id: UploadID, _ owner: UploadOwner, _ chunk: Range<Int64>?, _ body: Body, length: Int64? = nil,
        as digest: Digest
    ) async throws(RegistryError) -> Blob where Body.Element == [UInt8] {
        var session = try claim(id, owner)
        try await receive(body, chunk, length, into: &session)
        forget(session)
        return try await commit(session, as: digest)
    }

    /// Throws an upload away ("Cancel a blob upload").
    /// - Throws: `.unknownUpload`, `.busyUpload`.
    public func cancel(_ id: UploadID, _ owner: UploadOwner) async throws(RegistryError) {
        let session = try claim(id, owner)
        forget(session)
        await session.ingest.abort()
    }

    /// Throws away what rested for too long. To be called now and then.
    public func expire() async {
        let limit = now() - limits.lifetime
        let expired = state.withLock { state in
            state.entries.filter { $0.value.session != nil && $0.value.used < limit }.keys.map { state.remove($0) }
        }
        for session in expired { await session?.ingest.abort() }
    }

    /// A blob that comes in a single request.
    /// - Throws: `.mismatch`, `.tooLarge`, `.input`; nothing is kept.
    public func take<Body: AsyncSequence>(
        _ owner: UploadOwner, _ body: Body, length: Int64? = nil, as digest: Digest, usesReserve: Bool = false
    ) async throws(RegistryError) -> Blob where Body.Element == [UInt8] {
        let id = try begin(owner, digest.algorithm, usesReserve: usesReserve)
        do throws(RegistryError) {
            return try await finish(id, owner, nil, body, length: length, as: digest)
        } catch {
            try? await cancel(id, owner)
            throw error
        }
    }

    private func claim(_ id: UploadID, _ owner: UploadOwner) throws(RegistryError) -> UploadSession {
        try state.withLock { (state) throws(RegistryError) in
            guard let entry = state.entries[id], entry.owner == owner else { throw .unknownUpload }
            guard let session = entry.session else { throw .busyUpload }
            state.entries[id]?.session = nil
            return session
        }
    }

    /// Gives a session back, to rest until the next request.
    private func give(_ session: UploadSession) async throws(RegistryError) {
        do { try await session.ingest.rest() } catch {
            await end(session)
            throw .blob(error)
        }
        let now = now()
        state.withLock { state in
            state.entries[session.id]?.session = session
            state.entries[session.id]?.received = session.ingest.size
            state.entries[session.id]?.used = now
        }
    }

    private func forget(_ session: UploadSession) {
        _ = state.withLock { $0.remove(session.id) }
    }

    /// Takes a body's bytes. If the sender is at fault, the session goes back with what it has; if the store is, it is
    /// over.
    private func receive<Body: AsyncSequence>(
        _ body: Body, _ chunk: Range<Int64>?, _ length: Int64?, into session: inout UploadSession
    ) async throws(RegistryError) where Body.Element == [UInt8] {
        let start = session.ingest.size
        if let chunk, chunk.lowerBound != start {
            try await give(session)
            throw .outOfOrder(received: start)
        }
        let length = length ?? chunk.map { Int64($0.count) }
        do throws(IngestError) {
            try await session.ingest.append(body, length: length, to: chunk?.upperBound ?? .max)
        } catch {
            switch error {
            case .input, .cancelled: try await give(session)
            case .mismatch, .tooLarge, .blob: await end(session)
            }
            if let chunk, case .tooLarge(let received) = error, received > chunk.upperBound {
                throw .sizeMismatch(expected: Int64(chunk.count), actual: received - start)
            }
            throw RegistryError(error, maximum: limits.size)
        }
        if let chunk, session.ingest.size != chunk.upperBound {
            try await give(session)
            throw .sizeMismatch(expected: Int64(chunk.count), actual: session.ingest.size - start)
        }
    }

    private func end(_ session: UploadSession) async {
        forget(session)
        await session.ingest.abort()
    }

    private func commit(_ session: UploadSession, as digest: Digest) async throws(RegistryError) -> Blob {
        var ingest = session.ingest
        let blob: Blob
        do { blob = try await ingest.commit(as: digest) } catch { throw RegistryError(error, maximum: limits.size) }
        try await registry.link(blob, to: session.owner.repository, session.reservation)
        return blob
    }
}

extension RegistryError {
    fileprivate init(_ error: IngestError, maximum: Int64) {
        switch error {
        case .mismatch(let announced, let received): self = .mismatch(announced: announced, received: received)
        case .tooLarge: self = .tooLarge(maximum: maximum)
        case .input(let error): self = .input(error)
        case .cancelled: self = .cancelled
        case .blob(let error): self = .blob(error)
        }
    }
}
