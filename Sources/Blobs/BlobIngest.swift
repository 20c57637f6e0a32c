public import OCI
public import ObjectStore

/// What a sender says that its bytes are.
public enum Checksum: Hashable, Sendable, CustomStringConvertible {
    case digest(Digest)
    /// 40 lower-case hexadecimal digits, as older cloud controllers name droplets.
    case sha1(String)

    public var description: String {
        switch self {
        case .digest(let digest): digest.description
        case .sha1(let hex): "sha1:\(hex)"
        }
    }
}

/// Why bytes were not taken in.
public enum IngestError: Error {
    /// The bytes have another checksum than the sender announced.
    case mismatch(announced: Checksum, received: Checksum)
    /// The sender sent more bytes than the limit allows.
    /// - Parameter received: bytes received until the limit was noticed.
    case tooLarge(received: Int64)
    /// The sender failed or went away; the value is its own error.
    case input(any Error)
    case cancelled
    case blob(BlobError)
}

/// Bytes on their way into the store: reserved in the quotas before they are taken, hashed and written as they arrive.
///
/// They arrive in any number of portions (`append`), all from one task at a time. They are a blob once they are
/// committed (`commit`, or `BlobStore.commit` for several together); `abort` throws them away. A `commit` or `finish`
/// that fails removes the bytes, unless the store did not say whether its write took place: a record may name the bytes
/// then, so they stay and count as used until the next count. A copy shares its writer, so use only one of the two.
public struct BlobIngest: Sendable {
    /// The hashers that get the same bytes.
    private struct Hashers: Sendable {
        var digest: DigestHasher
        var sha1: SHA1Hasher?

        mutating func update(_ chunk: [UInt8]) {
            chunk.withUnsafeBytes {
                digest.update($0)
                sha1?.update($0)
            }
        }
    }

    /// From this many bytes on, hashing and writing at the same time pays. An upload gathers this much in memory.
    private static let batch: Int64 = 256 << 10

    /// nil if the bytes are only hashed and not kept.
    private let blobs: BlobStore?
    private let reservation: QuotaReservation?
    private let maximum: Int64
    private let use: ObjectUse
    private var hashers: Hashers
    /// nil before the first byte.
    private var writer: BlobWriter?
    /// How many bytes have arrived.
    public private(set) var size: Int64 = 0
    /// Bytes of the reservation that are held for what has arrived and what is expected.
    public private(set) var held: Int64 = 0

    /// - Parameters:
    ///   - blobs: where the bytes go; nil if they are only hashed and not kept.
    ///   - algorithm: of the digest that the bytes will be committed as; to commit another one reads the bytes again.
    ///   - hashesSHA1: whether to compute the SHA-1 as well.
    ///   - reservation: in the quotas of the repository that gets the bytes. The writers keep the store's own limit.
    ///   - maximum: of all bytes together.
    public init(
        into blobs: BlobStore?, _ algorithm: DigestAlgorithm = .sha256, hashesSHA1: Bool = false,
        reservation: QuotaReservation? = nil, maximum: Int64 = .max, use: ObjectUse = .soon
    ) {
        self.blobs = blobs
        self.reservation = reservation
        self.maximum = maximum
        self.use = use
        hashers = Hashers(digest: DigestHasher(algorithm), sha1: hashesSHA1 ? SHA1Hasher() : nil)
    }

    // MARK: what is known

    /// The digest of the bytes that have arrived so far.
    public var digest: Digest { hashers.digest.finish() }

    /// 40 hexadecimal digits; nil unless the initializer was told to compute the SHA-1.
    public var sha1: String? { hashers.sha1?.finish() }

    /// Compares the bytes that have arrived with what the sender announced.
    /// - Throws: `.mismatch` if they differ.
    /// - Parameter announced: a digest of the algorithm that is hashed here, or a SHA-1 if one is computed.
    public func check(_ announced: Checksum) throws(IngestError) {
        let received: Checksum =
            switch announced {
            case .digest: .digest(digest)
            case .sha1: .sha1(sha1 ?? "")
            }
        guard received == announced else { throw .mismatch(announced: announced, received: received) }
    }

    // MARK: taking bytes

    /// Takes all bytes of a sender.
    /// - Parameters:
    ///   - length: how many bytes the sender announces, if it does: they are reserved before the first is taken.
    ///   - end: the largest total size after this body, if that is less than the maximum.
    /// - Throws: `.input`, `.cancelled`: the bytes that arrived are kept, and more may be appended. `.tooLarge` and
    ///   `.blob`: only `abort` is possible then.
    public mutating func append<Body: AsyncSequence>(
        _ body: Body, length: Int64? = nil, to end: Int64 = .max
    ) async throws(IngestError) where Body.Element == [UInt8] {
        if let length, length > 0, length <= maximum { try await expect(length) }
        var iterator = body.makeAsyncIterator()
        var chunks: [[UInt8]] = []
        var count: Int64 = 0
        while true {
            let chunk: [UInt8]?
            do { chunk = try await iterator.next() } catch {
                try await take(chunks, count)
                await settle()
                throw error is CancellationError ? .cancelled : .input(error)
            }
            guard let chunk else { break }
            chunks.append(chunk)
            count += Int64(chunk.count)
            guard size + count <= min(end, maximum) else { throw .tooLarge(received: size + count) }
            if count >= Self.batch {
                try await take(chunks, count)
                chunks = []
                count = 0
            }
        }
        try await take(chunks, count)
        await settle()
    }

    /// Takes the next bytes, for a caller that uses each chunk for something else too.
    public mutating func append(_ chunk: [UInt8]) async throws(IngestError) {
        let total = size + Int64(chunk.count)
        guard total <= maximum else { throw .tooLarge(received: total) }
        hashers.update(chunk)
        try await write([chunk], to: total)
    }

    /// Reserves room for `length` more bytes, before any of them is taken.
    public mutating func expect(_ length: Int64) async throws(IngestError) {
        do throws(BlobError) {
            try await hold(size + length)
            try await open()?.expect(length)
        } catch { throw .blob(error) }
    }

    /// Gives back the reservation for bytes that were expected and did not arrive.
    private mutating func settle() async {
        reservation?.shrink(by: held - size)
        held = size
        try? await writer?.expect(0)
    }

    /// Closes the open file, if there is one, because no bytes are expected for a while.
    public func rest() async throws(BlobError) { try await writer?.rest() }

    private mutating func take(_ chunks: [[UInt8]], _ count: Int64) async throws(IngestError) {
        guard count > 0 else { return }
        let hashers = hashers
        async let hashed = Self.hash(chunks, hashers)
        try await write(chunks, to: size + count)
        self.hashers = await hashed
    }

    private static func hash(_ chunks: [[UInt8]], _ hashers: Hashers) async -> Hashers {
        var hashers = hashers
        for chunk in chunks { hashers.update(chunk) }
        return hashers
    }

    private mutating func write(_ chunks: [[UInt8]], to total: Int64) async throws(IngestError) {
        do throws(BlobError) {
            try await hold(total)
            if let writer = open() { for chunk in chunks { try await writer.write(chunk) } }
        } catch { throw .blob(error) }
        size = total
    }

    private mutating func hold(_ total: Int64) async throws(BlobError) {
        guard let reservation, total > held else { return }
        try await reservation.grow(by: total - held)
        held = total
    }

    /// Returns the writer, begun if need be.
    /// - Returns: nil if the bytes are not kept.
    private mutating func open() -> BlobWriter? {
        if writer == nil { writer = blobs?.begin(use: use) }
        return writer
    }

    // MARK: ending

    /// Makes all bytes the blob of a digest. Its record is not durable before the store's next `sync()`.
    /// - Throws: `.mismatch` if the bytes have another digest; `.blob`.
    public mutating func commit(as wanted: Digest) async throws(IngestError) -> Blob {
        let isHashed = wanted.algorithm == hashers.digest.algorithm
        if isHashed, digest != wanted {
            await abort()
            throw .mismatch(announced: .digest(wanted), received: .digest(digest))
        }
        let (blob, actual) = try await commit(as: wanted, isHashed: isHashed)
        guard let blob else { throw .mismatch(announced: .digest(wanted), received: .digest(actual)) }
        return blob
    }

    /// - Returns: no blob if the bytes have another digest.
    private mutating func commit(
        as wanted: Digest, isHashed: Bool
    ) async throws(IngestError) -> (blob: Blob?, actual: Digest) {
        do throws(BlobError) {
            let staged = try await finish()
            let actual = isHashed ? wanted : try await Self.hash(staged, wanted.algorithm)
            if actual == wanted, let blobs { return (try await blobs.publish(staged, as: wanted), actual) }
            await staged.discard()
            return (nil, actual)
        } catch { throw .blob(error) }
    }

    private static func hash(_ staged: StagedBlob, _ algorithm: DigestAlgorithm) async throws(BlobError) -> Digest {
        do throws(BlobError) { return try await staged.digest(algorithm) } catch {
            await staged.discard()
            throw error
        }
    }

    /// Makes the bytes durable without a digest's record, for a caller that inspects them before they become a blob.
    /// - Throws: as the store; an I/O error if the bytes are not kept.
    public mutating func finish() async throws(BlobError) -> StagedBlob {
        guard let writer = open() else { throw Self.nothingKept }
        return try await writer.finish()
    }

    public func abort() async { await writer?.abort() }

    /// The writer and digest that `BlobStore.commit` takes, to commit these bytes together with others.
    public mutating func written() throws(BlobError) -> (writer: BlobWriter, digest: Digest) {
        guard let writer = open() else { throw Self.nothingKept }
        return (writer, digest)
    }

    private static var nothingKept: BlobError { .store(.io("the bytes were hashed and not kept")) }
}

/// A sender's bytes, read once for two consumers: each chunk goes to the ingest first, and then to this stream's
/// reader.
///
/// One task at a time reads the stream. Ask the ingest for its digest and size after reading.
package final class IngestStream<Source: AsyncSequence>: AsyncSequence, @unchecked Sendable
where Source.Element == [UInt8] {
    package typealias Element = [UInt8]

    private var iterator: Source.AsyncIterator
    package var ingest: BlobIngest
    private let watch: @Sendable ([UInt8]) async throws(BlobError) -> Void

    /// - Parameter watch: called with each chunk after the ingest has taken it.
    package init(
        _ source: Source, into ingest: BlobIngest,
        watch: @escaping @Sendable ([UInt8]) async throws(BlobError) -> Void = { _ in }
    ) {
        self.iterator = source.makeAsyncIterator()
        self.ingest = ingest
        self.watch = watch
    }

    package func next() async throws(IngestError) -> [UInt8]? {
        let chunk: [UInt8]?
        do { chunk = try await iterator.next() } catch { throw error is CancellationError ? .cancelled : .input(error) }
        guard let chunk else { return nil }
        try await ingest.append(chunk)
        try await IngestError.ofBlobs(await watch(chunk))
        return chunk
    }

    /// An iterator that goes on where reading stopped.
    package func makeAsyncIterator() -> Iterator { Iterator(stream: self) }

    package struct Iterator: AsyncIteratorProtocol {
        fileprivate let stream: IngestStream

        package func next() async throws -> [UInt8]? { try await stream.next() }
    }

    /// Reads the rest of the stream, so that the ingest gets all bytes.
    package func drain() async throws(IngestError) {
        while try await next() != nil {}
    }
}
