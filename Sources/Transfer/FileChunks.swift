/// A file's bytes, read when they are asked for: as many as it had when it was opened.
public struct FileChunks: AsyncSequence, Sendable {
    let file: UploadFile

    public func makeAsyncIterator() -> Iterator { Iterator(file: file) }

    public struct Iterator: AsyncIteratorProtocol {
        let file: UploadFile
        var offset: Int64 = 0

        /// - Throws: `TransferError.file`.
        public mutating func next() async throws(TransferError) -> [UInt8]? {
            guard offset < file.size else { return nil }
            let bytes = try file.read(at: offset, maximum: Int(Swift.min(256 << 10, file.size - offset)))
            guard !bytes.isEmpty else {
                throw .file(path: file.path, reason: "the file became shorter while it was sent")
            }
            offset += Int64(bytes.count)
            return bytes
        }
    }
}

extension UploadFile {
    public var chunks: FileChunks { FileChunks(file: self) }
}
