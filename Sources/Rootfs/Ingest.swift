package import Blobs
import Layers
package import OCI

/// A sender's bytes, read once for everybody: counted, hashed, kept or checked, and handed on to the conversion.
///
/// `next` is called by one task at a time; the checksums are read when it has returned nil.
package final class HashingStream<Source: AsyncSequence>: AsyncSequence, @unchecked Sendable
where Source.Element == [UInt8] {
    package typealias Element = [UInt8]

    private var iterator: Source.AsyncIterator
    private let forward: @Sendable ([UInt8]) async throws -> Void
    private var sha256 = DigestHasher(.sha256)
    private var sha1 = SHA1Hasher()
    package private(set) var size: Int64 = 0

    /// - Parameter forward: gets the bytes as they came, before the conversion does.
    package init(
        _ source: Source, forward: @escaping @Sendable ([UInt8]) async throws -> Void = { _ in }
    ) {
        self.iterator = source.makeAsyncIterator()
        self.forward = forward
    }

    package var digest: Digest { sha256.finish() }
    package var sha1Hex: String { sha1.finish() }

    /// - Throws: `ImageError.input` if the sender failed, else what `forward` throws.
    package func next() async throws(ImageError) -> [UInt8]? {
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
        do { try await forward(chunk) } catch { throw imageError(error) }
        return chunk
    }

    /// Goes on where reading stopped.
    package func makeAsyncIterator() -> Iterator { Iterator(stream: self) }

    package struct Iterator: AsyncIteratorProtocol {
        fileprivate let stream: HashingStream

        package func next() async throws -> [UInt8]? { try await stream.next() }
    }

    /// Reads what is left.
    package func drain() async throws(ImageError) {
        while try await next() != nil {}
    }
}

/// A checksum announced for bytes that are on their way, in lower-case hexadecimal.
public enum Checksum: Hashable, Sendable, CustomStringConvertible {
    case sha256(String)
    case sha1(String)

    public var description: String {
        switch self {
        case .sha256(let hex): "sha256:\(hex)"
        case .sha1(let hex): "sha1:\(hex)"
        }
    }

    package func check(sha256: String, sha1: String) throws(ImageError) {
        switch self {
        case .sha256(let hex) where hex != sha256:
            throw .checksumMismatch(announced: description, received: "sha256:\(sha256)")
        case .sha1(let hex) where hex != sha1:
            throw .checksumMismatch(announced: description, received: "sha1:\(sha1)")
        default: break
        }
    }
}

/// Layers go to blobs. They are made durable later, all of a request together, by `BlobStore.commit`.
package struct BlobLayerSink: LayerSink {
    private let blobs: BlobStore
    private let reserve: @Sendable (Int) async throws -> Void

    /// - Parameter reserve: told of bytes before they are written, so that it can refuse them.
    package init(blobs: BlobStore, reserve: @escaping @Sendable (Int) async throws -> Void = { _ in }) {
        self.blobs = blobs
        self.reserve = reserve
    }

    package func begin() async throws -> BlobLayerWriter {
        BlobLayerWriter(writer: blobs.begin(), reserve: reserve)
    }
}

package struct BlobLayerWriter: LayerWriter {
    fileprivate let writer: BlobWriter
    fileprivate let reserve: @Sendable (Int) async throws -> Void

    package func write(_ bytes: [UInt8]) async throws {
        try await reserve(bytes.count)
        try await writer.write(bytes)
    }
    package func finish(digest: Digest, size: Int64) async throws -> BlobWriter { writer }
    package func abort() async { await writer.abort() }
}
