import Foundation
import Glibc
import OCI

extension SigningKey {
    /// How many keys there may be: the one in use, and those that verifiers still know.
    private static let maximumCount = 4
    private static let maximumSize = 64 << 10

    /// Reads the keys of the setting `provenance.key`.
    /// - Parameter paths: separated by commas.
    /// - Throws: `CommandError`, which says nothing of what is in the files.
    static func read(_ paths: String) throws -> [SigningKey] {
        let paths = paths.split(separator: ",").map { String($0.trimmingBlanks) }.filter { !$0.isEmpty }
        guard paths.count <= maximumCount else {
            throw CommandError("\(Setting.provenanceKey.key) names more than \(maximumCount) files")
        }
        let keys = try paths.map { path in
            do { return try SigningKey(pem: try bytes(path)) } catch let error as OCIError {
                throw CommandError(
                    "\(printable(path)) can't sign provenance: \(error). "
                        + "Make a key with: openssl genpkey -algorithm ed25519")
            }
        }
        guard Set(keys.map(\.id)).count == keys.count else {
            throw CommandError("\(Setting.provenanceKey.key) names the same key twice")
        }
        return keys
    }

    /// A file that its owner alone may read.
    private static func bytes(_ path: String) throws -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw CommandError("\(printable(path)) can't be read: \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw CommandError("\(printable(path)) is no file")
        }
        guard status.st_mode & 0o077 == 0 else {
            throw CommandError(
                "\(printable(path)) can be read or written by others: a private key is its owner's alone (chmod 600)")
        }
        var bytes = [UInt8](repeating: 0, count: maximumSize)
        var count = 0
        while count < maximumSize {
            let read = bytes.withUnsafeMutableBytes { buffer in
                Glibc.read(descriptor, buffer.baseAddress.map { $0 + count }, maximumSize - count)
            }
            if read < 0, errno == EINTR { continue }
            guard read >= 0 else {
                throw CommandError("\(printable(path)) can't be read: \(String(cString: strerror(errno)))")
            }
            guard read > 0 else { break }
            count += read
        }
        return Array(bytes[..<count])
    }
}

extension Substring {
    fileprivate var trimmingBlanks: Substring {
        var rest = self
        while rest.first == " " { rest.removeFirst() }
        while rest.last == " " { rest.removeLast() }
        return rest
    }
}
