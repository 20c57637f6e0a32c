public import Blobs
public import OCI
import Synchronization

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
            id: id, owner: owner, reservation: registry.quotas.reservation(for: owner.repository),
            hasher: DigestHasher(algorithm))
        let entry = Entry(session: session, owner: owner, received: 0, used: now())
        // What it drops ends when nobody has it any more.
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
        return session.received
    }

    /// Adds the last bytes, if any, and makes everything a blob of the repository.
    /// - Throws: as `append`; `.digestMismatch`, after which nothing is kept.
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
        await session.writer?.abort()
    }

    /// Throws away what rested for too long. To be called now and then.
    public func expire() async {
        let limit = now() - limits.lifetime
        let expired = state.withLock { state in
            state.entries.filter { $0.value.session != nil && $0.value.used < limit }.keys.map { state.remove($0) }
        }
        for session in expired { await session?.writer?.abort() }
    }

    /// A blob that comes in a single request.
    /// - Throws: `.digestMismatch`, `.tooLarge`, `.input`; nothing is kept.
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
        do { try await session.writer?.rest() } catch {
            await end(session)
            throw .blob(error)
        }
        let now = now()
        state.withLock { state in
            state.entries[session.id]?.session = session
            state.entries[session.id]?.received = session.received
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
        if let chunk, chunk.lowerBound != session.received {
            try await give(session)
            throw .outOfOrder(received: session.received)
        }
        let start = session.received
        if let length = length ?? chunk.map({ Int64($0.count) }) { try await expect(length, in: &session) }
        var iterator = body.makeAsyncIterator()
        var batch = Batch()
        while true {
            let bytes: [UInt8]?
            do { bytes = try await iterator.next() } catch {
                try await keep(&batch, in: &session)
                await unexpect(&session)
                try await give(session)
                throw error is CancellationError ? .cancelled : .input(error)
            }
            guard let bytes else { break }
            batch.add(bytes)
            let end = session.received + batch.count
            if let chunk, end > chunk.upperBound {
                await self.end(session)
                throw .sizeMismatch(expected: Int64(chunk.count), actual: end - start)
            }
            guard end <= limits.size else {
                await self.end(session)
                throw .tooLarge(maximum: limits.size)
            }
            if batch.count >= Batch.size { try await keep(&batch, in: &session) }
        }
        try await keep(&batch, in: &session)
        await unexpect(&session)
        if let chunk, session.received != chunk.upperBound {
            try await give(session)
            throw .sizeMismatch(expected: Int64(chunk.count), actual: session.received - start)
        }
    }

    /// Bytes that were received, and wait to be hashed and written together.
    private struct Batch {
        /// From this many bytes on it is worth to do both at once. Each upload under way holds so much.
        static let size: Int64 = 256 << 10

        private(set) var chunks: [[UInt8]] = []
        private(set) var count: Int64 = 0

        mutating func add(_ bytes: [UInt8]) {
            chunks.append(bytes)
            count += Int64(bytes.count)
        }
    }

    /// Hashes and writes a batch, both at the same time.
    private func keep(_ batch: inout Batch, in session: inout UploadSession) async throws(RegistryError) {
        let (chunks, count, hasher) = (batch.chunks, batch.count, session.hasher)
        guard count > 0 else { return }
        batch = Batch()
        async let hashed = Self.hash(chunks, hasher)
        do throws(BlobError) {
            try await session.reservation.cover(session.received + count)
            let writer = try await writer(of: &session)
            for bytes in chunks { try await writer.write(bytes) }
        } catch {
            await end(session)
            throw .blob(error)
        }
        session.hasher = await hashed
        session.received += count
    }

    private func writer(of session: inout UploadSession) async throws(BlobError) -> BlobWriter {
        if let writer = session.writer { return writer }
        let writer = registry.blobs.begin()
        session.writer = writer
        return writer
    }

    /// Holds room for bytes that are to come; if there is none, the upload is over.
    private func expect(_ length: Int64, in session: inout UploadSession) async throws(RegistryError) {
        guard length > 0, length <= limits.size, registry.isLimited else { return }
        do throws(BlobError) {
            try await session.reservation.cover(session.received + length)
            try await writer(of: &session).expect(length)
        } catch {
            await end(session)
            throw .blob(error)
        }
    }

    /// Gives back what was held for bytes that did not come.
    private func unexpect(_ session: inout UploadSession) async {
        session.reservation.shrink(to: session.received)
        try? await session.writer?.expect(0)
    }

    private static func hash(_ chunks: [[UInt8]], _ hasher: DigestHasher) async -> DigestHasher {
        var hasher = hasher
        for chunk in chunks { chunk.withUnsafeBytes { hasher.update($0) } }
        return hasher
    }

    private func end(_ session: UploadSession) async {
        forget(session)
        await session.writer?.abort()
    }

    private func commit(_ session: UploadSession, as digest: Digest) async throws(RegistryError) -> Blob {
        let staged = try await stage(session)
        let actual: Digest
        if digest.algorithm == session.hasher.algorithm {
            actual = session.hasher.finish()
        } else {
            do { actual = try await staged.digest(digest.algorithm) } catch {
                await staged.discard()
                throw .blob(error)
            }
        }
        guard actual == digest else {
            await staged.discard()
            throw .digestMismatch(expected: digest, actual: actual)
        }
        let blob: Blob
        do { blob = try await registry.blobs.publish(staged, as: digest) } catch { throw .blob(error) }
        try await registry.link(blob, to: session.owner.repository, session.reservation)
        return blob
    }

    private func stage(_ session: UploadSession) async throws(RegistryError) -> StagedBlob {
        do throws(BlobError) {
            if let writer = session.writer { return try await writer.finish() }
            return try await registry.blobs.begin().finish()
        } catch { throw .blob(error) }
    }
}
