/// Bytes in small chunks, as a network delivers them.
package struct Chunks: AsyncSequence, Sendable {
    package let bytes: [UInt8]
    package var size = 1000
    /// Thrown after this many bytes: a sender that goes away.
    package var breaksAt: Int?

    struct Broken: Error {}

    package init(_ bytes: [UInt8], breaksAt: Int? = nil) {
        self.bytes = bytes
        self.breaksAt = breaksAt
    }

    package func makeAsyncIterator() -> Iterator { Iterator(chunks: self) }

    package struct Iterator: AsyncIteratorProtocol {
        let chunks: Chunks
        var offset = 0

        package mutating func next() async throws -> [UInt8]? {
            if let end = chunks.breaksAt, offset >= end { throw Broken() }
            guard offset < chunks.bytes.count else { return nil }
            let chunk = Array(chunks.bytes[offset..<Swift.min(offset + chunks.size, chunks.bytes.count)])
            offset += chunk.count
            return chunk
        }
    }
}
