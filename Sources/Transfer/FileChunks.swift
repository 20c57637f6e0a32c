import NIOCore

/// A file as a request's body, read when the connection asks for more.
struct FileChunks: AsyncSequence, Sendable {
    let file: UploadFile
    let progress: @Sendable (Int64) -> Void

    func makeAsyncIterator() -> Iterator { Iterator(chunks: self) }

    struct Iterator: AsyncIteratorProtocol {
        let chunks: FileChunks
        var offset: Int64 = 0

        mutating func next() async throws(TransferError) -> ByteBuffer? {
            guard offset < chunks.file.size else { return nil }
            let bytes = try chunks.file.read(at: offset, maximum: 256 << 10)
            guard !bytes.isEmpty else {
                throw .file(path: chunks.file.path, reason: "the file became shorter while it was sent")
            }
            let rest = chunks.file.size - offset
            offset += Swift.min(Int64(bytes.count), rest)
            chunks.progress(offset)
            return ByteBuffer(bytes: bytes.prefix(Int(clamping: rest)))
        }
    }
}
