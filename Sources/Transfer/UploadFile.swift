import CLinux
import Glibc
import NIOCore
public import OCI

/// A local file to be sent. It is opened once, so that the file that is sent is the one that was hashed, even if
/// another file gets its name meanwhile.
public final class UploadFile: Sendable {
    public let path: String
    /// The file's size in bytes when it was opened.
    public let size: Int64
    private let descriptor: Int32

    /// - Throws: `TransferError.file`.
    public init(path: String) throws(TransferError) {
        // Without O_NONBLOCK, opening a pipe waits until somebody writes to it.
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
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

    /// - Parameter descriptor: an open regular file, which from now on belongs to this object.
    init(path: String, size: Int64, descriptor: Int32) {
        self.path = path
        self.size = size
        self.descriptor = descriptor
    }

    deinit { Glibc.close(descriptor) }

    /// Reads at most `maximum` bytes at an offset; empty at the file's end.
    func read(at offset: Int64, maximum: Int) throws(TransferError) -> [UInt8] {
        var count = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: maximum) { buffer, initialized in
            count = pread(descriptor, buffer.baseAddress, maximum, off_t(offset))
            initialized = max(count, 0)
        }
        guard count >= 0 else { throw .file(path: path, reason: Self.lastError) }
        return bytes
    }

    /// The bytes of the whole file, which the caller knows to be small.
    public func bytes() throws(TransferError) -> [UInt8] {
        let bytes = try read(at: 0, maximum: Int(size) + 1)
        guard bytes.count == size else { throw .file(path: path, reason: "the file changes while it is read") }
        return bytes
    }

    /// The digest of the file's bytes up to its end.
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

/// The body of an upload request, with the headers that describe it.
public struct UploadBody<Bytes: AsyncSequence & Sendable>: Sendable where Bytes.Element == [UInt8] {
    let bytes: Bytes
    /// How many bytes the sequence gives in all.
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

/// Passes chunks on when the connection asks for more, and reports how many bytes it has passed on so far.
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

/// A file's bytes, read when they are asked for. Bytes that were appended after the file was opened are left out.
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
