import Glibc

/// A new file that gets its name when all of it is there; one that is dropped before leaves nothing.
final class DownloadFile {
    private let path: String
    private let temporary: String
    private let descriptor: Int32

    /// - Throws: `TransferError.file`, for a path that is taken too.
    init(path: String) throws(TransferError) {
        self.path = path
        temporary = "\(path).part-\(getpid())"
        guard access(path, F_OK) != 0 else { throw .file(path: path, reason: "it is there already") }
        descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw .file(path: path, reason: Self.lastError) }
    }

    deinit {
        close(descriptor)
        unlink(temporary)
    }

    func write(_ bytes: [UInt8]) throws(TransferError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .file(path: path, reason: Self.lastError) }
            rest = rest.dropFirst(count)
        }
    }

    func finish() throws(TransferError) {
        // A link, unlike a rename, leaves alone what is there under the name by now.
        guard fsync(descriptor) == 0, link(temporary, path) == 0 else {
            throw .file(path: path, reason: Self.lastError)
        }
    }

    private static var lastError: String { String(cString: strerror(errno)) }
}
