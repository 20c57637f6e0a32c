import Glibc
import JSON

/// Small files that are read whole: configuration, users, certificates, keys, passwords.
///
/// A byte order mark at the beginning is left out. Nothing here waits for another process: a pipe, a device or a directory in the file's place is refused. Links are
/// followed, since that is how Kubernetes replaces files.
package enum SmallFile {
    /// Why a file was not read. The text repeats nothing of the file's content.
    package struct Failure: Error, Hashable, CustomStringConvertible {
        package let path: String
        package let reason: String
        package let isMissing: Bool

        package var description: String { "\(path): \(reason)" }
    }

    /// - Parameters:
    ///   - maximum: in bytes; a larger file is an error.
    ///   - isSecret: whether a file is refused to which others than its owner have access.
    package static func read(_ path: String, maximum: Int, isSecret: Bool = false) throws(Failure) -> [UInt8] {
        // Without O_NONBLOCK, opening a pipe waits until somebody writes to it.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
        guard descriptor >= 0 else { throw failure(path) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failure(path) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw failure(path, "it is no regular file") }
        guard !isSecret || status.st_mode & 0o077 == 0 else {
            throw failure(path, "others than its owner have access to it: chmod 600")
        }
        let tooLarge = "it has more than \(maximum) bytes"
        guard status.st_size <= maximum else { throw failure(path, tooLarge) }
        // One byte more than the file has, to notice if it grows meanwhile.
        var bytes = [UInt8](repeating: 0, count: min(Int(status.st_size), maximum) + 1)
        var count = 0
        while count < bytes.count {
            let read = bytes.withUnsafeMutableBytes {
                Glibc.read(descriptor, $0.baseAddress?.advanced(by: count), $0.count - count)
            }
            if read < 0, errno == EINTR { continue }
            guard read >= 0 else { throw failure(path) }
            guard read > 0 else { break }
            count += read
            if count == bytes.count, count <= maximum {
                bytes += [UInt8](repeating: 0, count: min(max(count, 4096), maximum + 1 - count))
            }
        }
        guard count <= maximum else { throw failure(path, tooLarge) }
        return Array(bytes[..<count].withoutByteOrderMark)
    }

    /// Reads a file as UTF-8 text.
    /// - Parameter maximum: in bytes; a larger file is an error.
    package static func text(_ path: String, maximum: Int) throws(Failure) -> String {
        guard let text = String(validating: try read(path, maximum: maximum), as: UTF8.self) else {
            throw failure(path, "it is not UTF-8")
        }
        return text
    }

    private static func failure(_ path: String, _ reason: String? = nil) -> Failure {
        let code = errno
        return Failure(
            path: path, reason: reason ?? String(cString: strerror(code)), isMissing: reason == nil && code == ENOENT)
    }
}
