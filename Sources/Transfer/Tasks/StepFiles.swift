import CLinux
import Foundation
import Glibc
import JSON

/// The variables of a step: its environment and, before it, a file. They hold URLs with passwords and tokens.
///
/// Whoever may read `/proc/PID/environ` sees the environment, whatever the process does afterwards. So all of it may
/// come from a JSON object in a file instead, whose members have the variables' names (a text, or the JSON itself where
/// the variable's text is JSON). `-` is standard input, which leaves nothing behind.
package struct TaskVariables: Sendable {
    /// Bytes of the file.
    private static let maximumFile = 4 << 20

    private let texts: [String: String]

    /// - Throws: `TransferFailure`, `.invalid`.
    package init(environment: [String: String], file: String?) throws(TransferFailure) {
        var texts = environment
        if let file {
            let bytes = try StepFiles.read(file, limit: Self.maximumFile)
            guard let members = (try? JSONValue(parsing: bytes))?.object else {
                throw TransferFailure(.invalid, "the task file \(file) is no JSON object")
            }
            for (name, value) in members { texts[name] = value.string ?? value.canonicalText }
        }
        self.texts = texts.filter { !$0.value.isEmpty }
    }

    /// The text of a variable; nil if it is missing or empty.
    package subscript(_ name: String) -> String? { texts[name] }

    /// - Throws: `TransferFailure`, `.invalid`, which names the variable and shows no secret.
    func url(_ name: String) throws(TransferFailure) -> TransferURL? {
        guard let text = texts[name] else { return nil }
        do { return try TransferURL(text) } catch {
            throw TransferFailure(.invalid, "\(name): \(error.description)")
        }
    }

    /// Whom to trust, and which certificate to show.
    ///
    /// `EIRINI_CERTS_PATH` (`/etc/config/certs`) has the predecessor's `internal-ca-cert`, `cc-server-crt` and
    /// `cc-server-crt-key`, each if it is there; `CF_SYSTEM_CERT_PATH` has authorities in `*.crt` and `*.pem`.
    /// - Parameter authorities: more PEM files of authorities.
    /// - Throws: `TransferFailure`, `.invalid`.
    package func trust(authorities: [String]) throws(TransferFailure) -> TaskTrust {
        let files = authorityFiles(authorities)
        let certificate = certificates + "/cc-server-crt"
        let key = certificates + "/cc-server-crt-key"
        let hasIdentity = access(certificate, R_OK) == 0 && access(key, R_OK) == 0
        return try TaskTrust(authorities: files, identity: hasIdentity ? (certificate, key) : nil)
    }

    func authorityFiles(_ authorities: [String]) -> [String] {
        var files = authorities
        if access(certificates + "/internal-ca-cert", R_OK) == 0 { files.append(certificates + "/internal-ca-cert") }
        if let directory = self["CF_SYSTEM_CERT_PATH"] {
            let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
            files += names.filter { $0.hasSuffix(".crt") || $0.hasSuffix(".pem") }.sorted().map { directory + "/" + $0 }
        }
        return files
    }

    private var certificates: String { self["EIRINI_CERTS_PATH"] ?? "/etc/config/certs" }
}

extension TaskVariables: CustomStringConvertible, CustomReflectable {
    /// The names; the values are left out.
    package var description: String { texts.keys.sorted().joined(separator: ", ") }
    package var customMirror: Mirror { Mirror(self, children: ["names": description]) }
}

/// Calls on files that the steps share.
enum StepFiles {
    /// Reads a whole file; `-` is standard input.
    /// - Throws: `TransferFailure`.
    static func read(_ path: String, limit: Int) throws(TransferFailure) -> [UInt8] {
        // /dev/stdin can't be opened where standard input is a socket, or where there is no /dev.
        let file = path == "-" ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw .file(path) }
        defer { close(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = Glibc.read(file, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw .file(path) }
            if count == 0 { return bytes }
            bytes += buffer[..<count]
            guard bytes.count <= limit else { throw TransferFailure(.tooLarge, "\(path) has over \(limit) bytes") }
        }
    }

    /// Writes a file that is there whole or not at all.
    static func write(_ bytes: [UInt8], to path: String) throws(TransferFailure) {
        let partial = path + ".partial"
        if unlink(partial) != 0, errno != ENOENT { throw .file(partial) }
        let file = open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o644)
        guard file >= 0 else { throw .file(partial) }
        defer { close(file) }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .file(path, count < 0 ? errno : ENOSPC) }
            rest = rest.dropFirst(count)
        }
        guard fsync(file) == 0, rename(partial, path) == 0 else { throw .file(path) }
    }

    /// Removes a file or a directory with all that is in it, if it is there. Links are not followed.
    static func remove(_ path: String) throws(TransferFailure) {
        if unlink(path) == 0 || errno == ENOENT { return }
        do { try FileManager.default.removeItem(atPath: path) } catch {
            throw TransferFailure(.file, "\(path) can't be removed")
        }
    }

    static func makeDirectory(_ path: String) throws(TransferFailure) {
        do { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) } catch {
            throw TransferFailure(.file, "the directory \(path) can't be made")
        }
    }

    static func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }
}
