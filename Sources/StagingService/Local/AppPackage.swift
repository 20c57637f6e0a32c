import Archive
import CLinux
import Glibc
import Runtime
import Staging

/// An app as it lies in a directory or an archive, made into the zip that staging downloads.
package enum AppPackage {
    /// Writes the zip of an app, or copies the zip or jar that it is.
    ///
    /// Names are sorted, and the same files give the same bytes. What `.cfignore` and `IgnoreRules` leave out is left
    /// out; devices, pipes and sockets are refused, since an app that needs them can't be staged.
    /// - Parameters:
    ///   - app: a directory, or a zip.
    ///   - path: the new file.
    /// - Returns: how many bytes the zip has.
    /// - Throws: `BuildError` that names the file, `ArchiveError`.
    package static func write(_ app: String, to path: String) throws -> Int64 {
        var status = stat()
        guard stat(app, &status) == 0 else { throw BuildError(.other, "\(app): \(Self.reason(errno))") }
        var output = try Output(path)
        if status.st_mode & S_IFMT == S_IFDIR {
            try writeDirectory(app, into: &output)
        } else {
            try copy(app, into: &output)
        }
        return output.size
    }

    private static func reason(_ code: Int32) -> String { String(cString: strerror(code)) }

    /// The file that is written.
    private struct Output: ~Copyable {
        private static let piece = 1 << 20

        private let descriptor: Int32
        private let path: String
        private(set) var size: Int64 = 0
        var pending: [UInt8] = []

        init(_ path: String) throws(BuildError) {
            descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o644)
            guard descriptor >= 0 else { throw BuildError(.other, "\(path): \(reason(errno))") }
            self.path = path
        }

        deinit { close(descriptor) }

        /// Writes what is pending, if that is much or all.
        mutating func flush(all: Bool = false) throws(BuildError) {
            guard all || pending.count >= Self.piece else { return }
            var rest = pending[...]
            while !rest.isEmpty {
                let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { throw BuildError(.other, "\(path): \(reason(count < 0 ? errno : ENOSPC))") }
                rest = rest.dropFirst(count)
            }
            size += Int64(pending.count)
            pending.removeAll(keepingCapacity: true)
        }
    }

    private static func writeDirectory(_ app: String, into output: inout Output) throws {
        let text: String
        do { text = try SmallFile.text(app + "/.cfignore", maximum: 1 << 20) } catch {
            guard error.isMissing else { throw BuildError(.other, "\(error)") }
            text = ""
        }
        guard let rules = IgnoreRules(text) else {
            throw BuildError(.other, "\(app)/.cfignore has more than \(IgnoreRules.maximumRules) lines")
        }
        var zip = try ZipWriter()
        var piece = [UInt8](repeating: 0, count: 256 << 10)
        var walk = FileTree.Walk(limits: FileTree.Limits())
        walk.leavesOut = { rules.excludes($0, isDirectory: $1) }
        try walk.visit(app, prefix: []) { (item) throws(BuildError) in
            let entry = item.entry
            do {
                switch entry.kind {
                case .directory, .symbolicLink:
                    try zip.begin(
                        ZipEntry(
                            kind: entry.kind == .directory ? .directory : .symbolicLink, name: entry.name,
                            linkName: entry.linkName, mode: entry.mode & 0o777, modified: entry.modified),
                        method: .stored, into: &output.pending)
                    try zip.end(into: &output.pending)
                    try output.flush()
                    return
                // A zip has no hard links: each name gets the content.
                case .file, .hardLink: break
                default:
                    throw BuildError(
                        .other, "\(printableName(entry.name)): devices, pipes and sockets are no part of an app")
                }
            } catch let error as BuildError {
                throw error
            } catch {
                throw BuildError(.other, "\(app): \(error)")
            }
            let file = try item.open()
            defer { close(file) }
            try add(file, item.entry, &piece, &zip, into: &output)
        }
        try zip.finish(into: &output.pending)
        try output.flush(all: true)
    }

    private static func add(
        _ file: Int32, _ entry: TarEntry, _ piece: inout [UInt8], _ zip: inout ZipWriter, into output: inout Output
    ) throws(BuildError) {
        var status = stat()
        guard fstat(file, &status) == 0 else {
            throw BuildError(.other, "\(printableName(entry.name)): \(reason(errno))")
        }
        do {
            // It is read again at once, on the same machine: packing it would take longer than writing it.
            try zip.begin(
                ZipEntry(
                    kind: .file, name: entry.name, mode: entry.mode & 0o777, modified: entry.modified,
                    size: Int64(status.st_size)),
                method: .stored, into: &output.pending)
            while true {
                let count = read(file, &piece, piece.count)
                if count < 0, errno == EINTR { continue }
                guard count >= 0 else { throw BuildError(.other, "\(printableName(entry.name)): \(reason(errno))") }
                if count == 0 { break }
                try piece.withUnsafeBytes { bytes in
                    try zip.write(UnsafeRawBufferPointer(rebasing: bytes[..<count]), into: &output.pending)
                }
                try output.flush()
            }
            try zip.end(into: &output.pending)
        } catch let error as BuildError {
            throw error
        } catch {
            throw BuildError(.other, "\(printableName(entry.name)) changes while it is read: \(error)")
        }
    }

    private static func copy(_ app: String, into output: inout Output) throws(BuildError) {
        let file = open(app, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { throw BuildError(.other, "\(app): \(reason(errno))") }
        defer { close(file) }
        var magic = [UInt8](repeating: 0, count: 4)
        guard pread(file, &magic, 4, 0) == 4, magic[..<2] == [0x50, 0x4b] else {
            throw BuildError(.other, "\(app) is neither a directory nor a zip or jar")
        }
        var piece = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = read(file, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw BuildError(.other, "\(app): \(reason(errno))") }
            if count == 0 { return try output.flush(all: true) }
            output.pending += piece[..<count]
            try output.flush()
        }
    }
}
