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

    /// Parses an upload's name from a request; such an upload need not exist.
    public init?(parsing text: String) {
        guard text.utf8.count == 36, text.utf8.allSatisfy({ "0123456789abcdef-".utf8.contains($0) }) else { return nil }
        self.text = text
    }

    public var description: String { text }
}

/// The repository and user that an upload belongs to. For others the upload does not exist.
public struct UploadOwner: Hashable, Sendable {
    let repository: RepositoryName
    /// The bytes of the user's name, since Swift treats canonically equivalent strings as equal.
    let user: [UInt8]

    public init(repository: RepositoryName, user: String) {
        self.repository = repository
        self.user = Array(user.utf8)
    }
}

/// The bytes of an upload so far. One request at a time owns the session.
struct UploadSession: Sendable {
    let id: UploadID
    let owner: UploadOwner
    /// Reserved in the repository's quotas; given back when the last reference to the session is gone.
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
/// Uploads live in this process: after a restart clients begin again. Bytes are hashed and written as they arrive; an
/// upload that is idle for `Limits.lifetime` is thrown away. An idle upload holds no file open.
///
/// No user can lock out others: when all places are taken, a user with fewer uploads gets the place of the longest idle
/// upload of the user who has most.
public final class UploadSessions: Sendable {
    public struct Limits: Sendable {
        /// The most uploads under way, of all users; operators may take `reserve` more.
        public var total = 2048
        public var reserve = 128
        /// The most uploads of one user.
        public var ofOneUser = 1024
        /// How long an upload may be idle before it is thrown away.
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

        /// The upload that gives its place to a user who has `own` uploads: the longest idle one of the user who has
        /// most. nil if that user does not have at least two more, or if requests write to all of them.
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
        /// nil while a request owns the session.
        var session: UploadSession?
        let owner: UploadOwner
        var received: Int64
        var used: ContinuousClock.Instant
    }

    private let registry: Registry
    public let limits: Limits
    private let now: @Sendable () -> ContinuousClock.Instant
    private let state = Mutex(State())

    /// - Parameter now: the clock that measures lifetimes.
    public init(
        registry: Registry, limits: Limits = Limits(),
        now: @escaping @Sendable () -> ContinuousClock.Instant = { .now }
    ) {
        self.registry = registry
        self.limits = limits
        self.now = now
    }

    /// How many uploads are under way.
    public var count: Int { state.withLock { $0.entries.count } }

    /// Begins an upload.
    /// - Parameters:
    ///   - algorithm: of the digest that the upload will be finished with; for another one the bytes are read again.
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

    /// How many bytes were received so far.
    /// - Throws: `.unknownUpload`.
    public func received(_ id: UploadID, _ owner: UploadOwner) throws(RegistryError) -> Int64 {
        guard let entry = state.withLock({ $0.entries[id] }), entry.owner == owner else { throw .unknownUpload }
        return entry.received
    }

    /// Appends bytes to an upload. What arrived before the sender broke off is kept.
    /// - Parameters:
    ///   - chunk: the position of the bytes as the sender states it; nil: at the end.
    ///   - length: how many bytes the sender announces, if it does: they are reserved in the quotas first.
    /// - Returns: the bytes received so far.
    /// - Throws: `.unknownUpload`, `.busyUpload`, `.outOfOrder`, `.sizeMismatch`, `.input`, `.cancelled`; `.tooLarge`,
    ///   `.blob` and a `.sizeMismatch` with too many bytes end the upload, and nothing is kept.
    public func append<Body: AsyncSequence>(
        _ id: UploadID, _ owner: UploadOwner, _ chunk: Range<Int64>?, _ body: Body, length: Int64? = nil
    ) async throws(RegistryError) -> Int64 where Body.Element == [UInt8] {
        var session = try claim(id, owner)
        try await receive(body, chunk, length, into: &session)
        try await give(session)
        return session.ingest.size
    }

    /// Appends the last bytes, if any, and makes everything a blob of the repository.
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

    /// Throws away uploads that have been idle for too long. Call it regularly.
    public func expire() async {
        let limit = now() - limits.lifetime
        let expired = state.withLock { state in
            state.entries.filter { $0.value.session != nil && $0.value.used < limit }.keys.map { state.remove($0) }
        }
        for session in expired { await session?.ingest.abort() }
    }

    /// Takes a blob that is sent in a single request.
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

    /// Puts a session back, to be idle until the next request.
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

    /// Takes a body's bytes. The session stays if the sender broke off, sent too few bytes or began at the wrong
    /// position. The upload ends if the sender sent too many bytes, or if the blob store fails.
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
