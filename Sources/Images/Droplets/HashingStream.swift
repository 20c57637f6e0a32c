import Blobs
import OCI

/// A sender's bytes, read once for everybody: counted, hashed, kept as they are, and handed on to the conversion.
///
/// `next` is called by one task at a time; the checksums are read when it has returned nil.
final class HashingStream<Source: AsyncSequence>: AsyncSequence, @unchecked Sendable where Source.Element == [UInt8] {
    typealias Element = [UInt8]

    private var iterator: Source.AsyncIterator
    private let original: BlobWriter?
    private let room: DropletRoom?
    private let voucher: SignatureVerifier?
    private var sha256 = DigestHasher(.sha256)
    private var sha1 = SHA1Hasher()
    private(set) var size: Int64 = 0

    /// - Parameters:
    ///   - original: where the bytes are kept as they came.
    ///   - room: counts them; nil: nobody does.
    ///   - voucher: checks their signature; nil: they have none.
    init(_ source: Source, original: BlobWriter?, room: DropletRoom? = nil, voucher: SignatureVerifier? = nil) {
        self.voucher = voucher
        self.room = room
        self.iterator = source.makeAsyncIterator()
        self.original = original
    }

    var digest: Digest { sha256.finish() }
    var sha1Hex: String { sha1.finish() }

    /// - Throws: `ImageError.input` if the sender failed, `.blob` if the store did.
    func next() async throws(ImageError) -> [UInt8]? {
        let chunk: [UInt8]?
        do { chunk = try await iterator.next() } catch {
            throw error is CancellationError ? .cancelled : .input(error)
        }
        guard let chunk else { return nil }
        chunk.withUnsafeBytes {
            sha256.update($0)
            sha1.update($0)
        }
        size += Int64(chunk.count)
        do {
            try await room?.add(original: chunk.count)
            try await original?.write(chunk)
            try await voucher?.take(chunk)
        } catch { throw .blob(error) }
        return chunk
    }

    /// Goes on where reading stopped.
    func makeAsyncIterator() -> Iterator { Iterator(stream: self) }

    struct Iterator: AsyncIteratorProtocol {
        let stream: HashingStream

        func next() async throws -> [UInt8]? { try await stream.next() }
    }

    /// Reads what is left.
    func drain() async throws(ImageError) {
        while try await next() != nil {}
    }
}
