import Glibc
public import OCI

/// A local file to be sent: opened once, so that what was hashed is what is sent.
public final class UploadFile: Sendable {
    public let path: String
    /// In bytes, when it was opened.
    public let size: Int64
    private let descriptor: Int32

    /// - Throws: `TransferError.file`.
    public init(path: String) throws(TransferError) {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .file(path: path, reason: Self.lastError) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            Glibc.close(descriptor)
            throw .file(path: path, reason: "not a regular file")
        }
        self.path = path
        self.size = Int64(status.st_size)
        self.descriptor = descriptor
    }

    deinit { Glibc.close(descriptor) }

    /// Reads at an offset; empty at the end.
    func read(at offset: Int64, maximum: Int) throws(TransferError) -> [UInt8] {
        var count = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: maximum) { buffer, initialized in
            count = pread(descriptor, buffer.baseAddress, maximum, off_t(offset))
            initialized = max(count, 0)
        }
        guard count >= 0 else { throw .file(path: path, reason: Self.lastError) }
        return bytes
    }

    /// All of a file that is known to be small.
    public func bytes() throws(TransferError) -> [UInt8] {
        let bytes = try read(at: 0, maximum: Int(size) + 1)
        guard bytes.count == size else { throw .file(path: path, reason: "the file changes while it is read") }
        return bytes
    }

    /// The file's digest.
    public func digest(_ algorithm: DigestAlgorithm) throws(TransferError) -> Digest {
        var hasher = DigestHasher(algorithm)
        var offset: Int64 = 0
        while true {
            let bytes = try read(at: offset, maximum: 1 << 20)
            if bytes.isEmpty { return hasher.finish() }
            hasher.update(bytes)
            offset += Int64(bytes.count)
        }
    }

    private static var lastError: String { String(cString: strerror(errno)) }
}
