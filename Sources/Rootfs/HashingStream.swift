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
