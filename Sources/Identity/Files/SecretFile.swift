import Glibc

/// Small files that hold a secret of the operator's: nobody but their owner may have access to them.
public enum SecretFile {
    /// - Parameter maximum: in bytes.
    /// - Throws: `AuthenticationError.file`, which says nothing of what is in the file.
    public static func read(_ path: String, maximum: Int) throws(AuthenticationError) -> [UInt8] {
        // Not to wait for whoever writes to a pipe.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
        guard descriptor >= 0 else { throw failure(path) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failure(path) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .file(path: path, reason: "it is no file") }
        guard status.st_mode & 0o077 == 0 else {
            throw .file(path: path, reason: "others than its owner have access to it: chmod 600")
        }
        var bytes = [UInt8](repeating: 0, count: maximum + 1)
        var count = 0
        while count < bytes.count {
            let read = bytes.withUnsafeMutableBytes {
                Glibc.read(descriptor, $0.baseAddress?.advanced(by: count), $0.count - count)
            }
            if read < 0, errno == EINTR { continue }
            guard read >= 0 else { throw failure(path) }
            guard read > 0 else { break }
            count += read
        }
        guard count <= maximum else { throw .file(path: path, reason: "it has more than \(maximum) bytes") }
        return Array(bytes[..<count])
    }

    private static func failure(_ path: String) -> AuthenticationError {
        .file(path: path, reason: String(cString: strerror(errno)))
    }
}
