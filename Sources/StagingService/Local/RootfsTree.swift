import CLinux
import Glibc

/// An unpacked root filesystem as a program in it would find it: links are followed in it and never lead out of it,
/// whoever made it.
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

    /// Makes a directory, and those above it, where they are missing (0755).
    /// - Parameter path: without `..`.
    func makeDirectory(_ path: String) throws(SandboxError) {
        var above = "/"
        for name in path.split(separator: "/").map(String.init) {
            let parent = clinux_open_in_root(root, above)
            guard parent >= 0 else { throw .system(above, errno) }
            defer { close(parent) }
            if mkdirat(parent, name, 0o755) == 0 {
                fchmodat(parent, name, 0o755, 0)
            } else if errno != EEXIST {
                throw .system(path, errno)
            }
            above += name + "/"
        }
    }

    /// Puts a small file, which everybody may read, in the place of what has its name, if its directory is there.
    func replace(_ name: String, in directory: String, by text: String) throws(SandboxError) {
        let parent = clinux_open_in_root(root, directory)
        if parent < 0, errno == ENOENT { return }
        guard parent >= 0 else { throw .system(directory, errno) }
        defer { close(parent) }
        guard unlinkat(parent, name, 0) == 0 || errno == ENOENT else { throw .system("\(directory)/\(name)", errno) }
        let file = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw .system("\(directory)/\(name)", errno) }
        defer { close(file) }
        fchmod(file, 0o644)
        guard write(file, text, text.utf8.count) == text.utf8.count else {
            throw .system("\(directory)/\(name)", errno)
        }
    }

    private func with<Result>(_ path: String, _ body: (Int32, stat) -> Result) -> Result? {
        let file = clinux_open_in_root(root, path)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var status = stat()
        return fstat(file, &status) == 0 ? body(file, status) : nil
    }
}
