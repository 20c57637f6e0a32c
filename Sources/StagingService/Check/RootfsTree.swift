import CLinux
import Glibc

/// The files of an unpacked root filesystem, as a program in it would find them: links are followed in it and never lead
/// out of it.
final class RootfsTree: Sendable {
    /// How many bytes are read of a file at most.
    private static let limit = 1 << 20

    private let root: Int32

    /// - Throws: `SandboxError.system`.
    init(_ path: String) throws(SandboxError) {
        root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard root >= 0 else { throw .system(path, errno) }
    }

    deinit { close(root) }

    /// What lies at a path: its type and permission bits (`st_mode`); nil if nothing does.
    func mode(_ path: String) -> mode_t? {
        with(path) { _, status in status.st_mode }
    }

    /// A regular file that every user may read, as text; nil if there is none. Only its first mebibyte is read.
    func text(_ path: String) -> String? {
        with(path) { file, status in
            guard status.st_mode & S_IFMT == S_IFREG, status.st_mode & 0o004 != 0 else { return nil }
            var (bytes, piece) = ([UInt8](), [UInt8](repeating: 0, count: 64 << 10))
            while bytes.count < Self.limit {
                let count = read(file, &piece, piece.count)
                if count < 0, errno == EINTR { continue }
                guard count >= 0 else { return nil }
                if count == 0 { break }
                bytes += piece[..<count]
            }
            return String(decoding: bytes, as: UTF8.self)
        } ?? nil
    }

    /// Whether a path is a regular file that every user may execute.
    func isProgram(_ path: String) -> Bool {
        mode(path).map { $0 & S_IFMT == S_IFREG && $0 & 0o001 != 0 } ?? false
    }

    private func with<Result>(_ path: String, _ body: (Int32, stat) -> Result) -> Result? {
        let file = clinux_open_in_root(root, path)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var status = stat()
        return fstat(file, &status) == 0 ? body(file, status) : nil
    }
}
