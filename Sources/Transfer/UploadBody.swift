import NIOCore

/// What is sent as a request's body, and how it is called.
public struct UploadBody<Bytes: AsyncSequence & Sendable>: Sendable where Bytes.Element == [UInt8] {
    let bytes: Bytes
    /// In bytes: as many as there will be.
    let length: Int64
    let contentType: String
    let headers: [String: String]

    public init(
        _ bytes: Bytes, length: Int64, contentType: String = "application/octet-stream", headers: [String: String] = [:]
    ) {
        self.bytes = bytes
        self.length = length
        self.contentType = contentType
        self.headers = headers
    }
}

/// Hands bytes on when the connection asks for more, and counts them.
struct CountedChunks<Bytes: AsyncSequence & Sendable>: AsyncSequence, Sendable where Bytes.Element == [UInt8] {
    let bytes: Bytes
    let progress: @Sendable (Int64) -> Void

    func makeAsyncIterator() -> Iterator { Iterator(bytes: bytes.makeAsyncIterator(), progress: progress) }

    struct Iterator: AsyncIteratorProtocol {
        var bytes: Bytes.AsyncIterator
        let progress: @Sendable (Int64) -> Void
        var count: Int64 = 0

        mutating func next() async throws -> ByteBuffer? {
            guard let chunk = try await bytes.next() else { return nil }
            count += Int64(chunk.count)
            progress(count)
            return ByteBuffer(bytes: chunk)
        }
    }
}
