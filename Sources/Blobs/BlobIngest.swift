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
    /// They are not what was announced.
    case mismatch(announced: Checksum, received: Checksum)
    /// More came than are taken.
    /// - Parameter received: in bytes, up to where it was noticed.
    case tooLarge(received: Int64)
    /// The sender failed or went away; its own error.
    case input(any Error)
    case cancelled
    case blob(BlobError)
}

/// Bytes on their way into the store: held of quotas before they are taken, hashed and written as they come.
///
/// They come in as many portions as one likes (`append`), all of one task at a time. They are a blob once they are committed
/// (`commit`, or `BlobStore.commit` of several together); `abort` throws them away. What fails in `commit` and `finish`
/// leaves nothing behind, unless the store did not say what became of it: then nothing is removed, for a record may name
/// the bytes, and they count until a count tells. A copy shares its writer, so only one of the two goes on.
public struct BlobIngest: Sendable {
    /// Several hashers that are fed the same.
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

    /// From this many bytes on it is worth to hash and to write at the same time. An upload under way gathers so much.
    private static let batch: Int64 = 256 << 10

    /// nil: the bytes are only hashed.
    private let blobs: BlobStore?
    private let reservation: QuotaReservation?
    private let maximum: Int64
    private let use: ObjectUse
    private var hashers: Hashers
    /// nil before the first byte.
    private var writer: BlobWriter?
    /// Bytes that came.
    public private(set) var size: Int64 = 0
    /// Bytes that are held of the reservation for what came and what is expected.
    public private(set) var held: Int64 = 0

    /// - Parameters:
    ///   - blobs: nil: the bytes are hashed, and not kept.
    ///   - algorithm: of the digest that the bytes will be committed as; another one costs a second reading.
    ///   - hashesSHA1: whether a SHA-1 is wanted besides.
    ///   - reservation: of the quotas of whom the bytes are for. The store's own limit is kept by its writers.
    ///   - maximum: of all bytes.
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

    /// The digest of the bytes that came.
    public var digest: Digest { hashers.digest.finish() }

    /// 40 hexadecimal digits; nil if none was wanted.
    public var sha1: String? { hashers.sha1?.finish() }

    /// - Throws: `.mismatch` if the bytes that came are not what was announced.
    /// - Parameter announced: of a kind that is hashed here.
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
    ///   - length: how many the sender says that there are, if it does: they are held before they are taken.
    ///   - end: the size that all bytes may come to with this body, if that is less than the maximum.
    /// - Throws: `.input`, `.cancelled`, after which everything that came is taken and more may come; `.tooLarge` and `.blob`,
    ///   after which all that is left is to `abort`.
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

    /// Takes the next bytes, for a caller that does something else with them too.
    public mutating func append(_ chunk: [UInt8]) async throws(IngestError) {
        let total = size + Int64(chunk.count)
        guard total <= maximum else { throw .tooLarge(received: total) }
        hashers.update(chunk)
        try await write([chunk], to: total)
    }

    /// Holds room for bytes that are to come, before any of them is taken.
    public mutating func expect(_ length: Int64) async throws(IngestError) {
        do throws(BlobError) {
            try await hold(size + length)
            try await open()?.expect(length)
        } catch { throw .blob(error) }
    }

    /// Gives back what is held for bytes that did not come.
    private mutating func settle() async {
        reservation?.shrink(by: held - size)
        held = size
        try? await writer?.expect(0)
    }

    /// Nothing comes for a while: no file is held open meanwhile.
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

    /// - Returns: nil if nothing is kept.
    private mutating func open() -> BlobWriter? {
        if writer == nil { writer = blobs?.begin(use: use) }
        return writer
    }

    // MARK: ending

    /// Makes all bytes the blob of a digest, whose record is not durable before the store's next `sync()`.
    /// - Throws: `.mismatch` if they have another one, `.blob`.
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

    /// Makes the bytes durable for somebody who looks at them before they are a blob.
    public mutating func finish() async throws(BlobError) -> StagedBlob {
        guard let writer = open() else { throw Self.nothingKept }
        return try await writer.finish()
    }

    public func abort() async { await writer?.abort() }

    /// What `BlobStore.commit` takes, to commit these bytes together with others.
    public mutating func written() throws(BlobError) -> (writer: BlobWriter, digest: Digest) {
        guard let writer = open() else { throw Self.nothingKept }
        return (writer, digest)
    }

    private static var nothingKept: BlobError { .store(.io("the bytes were hashed and not kept")) }
}

/// A sender's bytes, read once for everybody: an ingest takes each chunk, and whoever reads this stream gets it then.
///
/// One task at a time reads it; what the ingest knows is asked for after that.
package final class IngestStream<Source: AsyncSequence>: AsyncSequence, @unchecked Sendable
where Source.Element == [UInt8] {
    package typealias Element = [UInt8]

    private var iterator: Source.AsyncIterator
    package var ingest: BlobIngest
    private let watch: @Sendable ([UInt8]) async throws(BlobError) -> Void

    /// - Parameter watch: gets each chunk too.
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

    /// Goes on where reading stopped.
    package func makeAsyncIterator() -> Iterator { Iterator(stream: self) }

    package struct Iterator: AsyncIteratorProtocol {
        fileprivate let stream: IngestStream

        package func next() async throws -> [UInt8]? { try await stream.next() }
    }

    /// Reads what is left.
    package func drain() async throws(IngestError) {
        while try await next() != nil {}
    }
}
