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
    /// Whether the path names the file: not where the bytes came through a pipe or by standard input.
    public let isNamed: Bool
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
        self.isNamed = true
        self.descriptor = descriptor
    }

    /// Opens what a person names: a file, or a pipe, whose bytes are copied into a file without a name first, since the
    /// server wants to know their digest and number before they come. That file is in `TMPDIR`, or else in `/var/tmp`,
    /// and is gone when this object is released or the process ends, however it ends.
    /// - Parameters:
    ///   - input: a path, or `-` for standard input.
    ///   - limit: how many bytes are taken from a pipe.
    /// - Throws: `TransferError.file`, also for a directory, a device or a terminal, and if nothing comes through a pipe.
    public static func input(_ input: String, limit: Int64 = pipeLimit) throws(TransferError) -> UploadFile {
        let isStandard = ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"].contains(input)
        let path = isStandard ? "standard input" : input
        // Opening a pipe by its name waits for somebody who writes to it, as it does for `cat`.
        let descriptor = isStandard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : Glibc.open(input, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .file(path: path, reason: lastError) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            Glibc.close(descriptor)
            throw .file(path: path, reason: lastError)
        }
        switch status.st_mode & S_IFMT {
        case S_IFREG where !isStandard || lseek(descriptor, 0, SEEK_CUR) == 0:
            return UploadFile(path: path, size: Int64(status.st_size), descriptor: descriptor, isNamed: !isStandard)
        case S_IFREG, S_IFIFO, S_IFSOCK:
            defer { Glibc.close(descriptor) }
            return try spool(descriptor, path, limit: limit)
        default:
            let isTerminal = isatty(descriptor) == 1
            Glibc.close(descriptor)
            throw .file(
                path: path,
                reason: isTerminal ? "it is a terminal: pipe an archive into it" : "not a regular file, and no pipe")
        }
    }

    /// How many bytes are taken from a pipe where the caller says nothing else.
    public static let pipeLimit: Int64 = 16 << 30

    private static func spool(
        _ source: Int32, _ path: String, limit: Int64
    ) throws(TransferError) -> UploadFile {
        let directory = getenv("TMPDIR").map { String(cString: $0) } ?? ""
        let place = directory.isEmpty ? "/var/tmp" : directory
        var template = Array("\(place)/cistern-XXXXXX".utf8CString)
        let copy = mkstemp(&template)
        guard copy >= 0 else { throw .file(path: place, reason: "\(lastError): name another directory by TMPDIR") }
        unlink(template)
        _ = fcntl(copy, F_SETFD, FD_CLOEXEC)
        do throws(TransferError) {
            let size = try fill(copy, in: place, from: source, path, limit: limit)
            guard size > 0 else { throw .file(path: path, reason: "nothing came: did what writes to it fail?") }
            return UploadFile(path: path, size: size, descriptor: copy, isNamed: false)
        } catch {
            Glibc.close(copy)
            throw error
        }
    }

    /// - Returns: how many bytes were copied.
    private static func fill(
        _ copy: Int32, in place: String, from source: Int32, _ path: String, limit: Int64
    ) throws(TransferError) -> Int64 {
        var buffer = [UInt8](repeating: 0, count: 256 << 10)
        var size: Int64 = 0
        while true {
            let count = Glibc.read(source, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw .file(path: path, reason: lastError) }
            if count == 0 { return size }
            size += Int64(count)
            guard size <= limit else { throw .file(path: path, reason: "more than \(limit) bytes came") }
            var rest = buffer[..<count]
            while !rest.isEmpty {
                let written = rest.withUnsafeBytes { Glibc.write(copy, $0.baseAddress, $0.count) }
                if written < 0, errno == EINTR { continue }
                guard written > 0 else {
                    throw .file(path: place, reason: "\(lastError): name another directory by TMPDIR")
                }
                rest = rest.dropFirst(written)
            }
        }
    }

    /// - Parameter descriptor: an open regular file, which from now on belongs to this object.
    init(path: String, size: Int64, descriptor: Int32, isNamed: Bool = true) {
        self.path = path
        self.size = size
        self.isNamed = isNamed
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
