import Archive
import CLinux
import Glibc
import JSON

/// Fills directories from archives and from other directories. `DirectoryWriter` keeps all of it below the directory.
///
/// Devices, pipes and sockets are left out and counted.
package enum DirectoryUnpacker {
    /// Unpacks an archive: a zip, or a tar that may be compressed.
    ///
    /// In a zip, a symbolic link that leads out of it is refused, for whoever uploaded it may be anybody. In a tar,
    /// which is a build cache or the work of a person on this machine, it is kept and never followed.
    /// - Parameters:
    ///   - path: a regular file; no link is followed.
    ///   - ratio: how many times its compressed size an archive may grow to, 64 MiB aside.
    /// - Returns: how many entries were left out.
    /// - Throws: for an archive that is not readable, too large or refused; the directory then holds a part of it.
    package static func unpack(
        _ path: String, into directory: String, limits: FileTree.Limits = FileTree.Limits(), ratio: Int64 = 1000,
        cancellation: Cancellation = Cancellation()
    ) throws(BuildError) -> Int {
        let input = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard input >= 0 else { throw .system("read", path, errno) }
        defer { close(input) }
        var status = stat()
        guard fstat(input, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw BuildError(.other, "\(path) is no regular file")
        }
        var limits = limits
        let (grown, overflow) = Int64(status.st_size).multipliedReportingOverflow(by: ratio)
        if !overflow { limits.bytes = min(limits.bytes, grown.clampedAdding(64 << 20)) }
        var magic = [UInt8](repeating: 0, count: 2)
        let isZip = pread(input, &magic, 2, 0) == 2 && magic == Array("PK".utf8)
        do {
            var writer = try DirectoryWriter(
                path: directory, replacesExisting: true, allowsOutwardLinks: !isZip, limits: limits.forWriting)
            var skipped = 0
            if isZip {
                var reader = try ZipReader(descriptor: input)
                try reader.extract(into: &writer) { cancellation.isRequested }
            } else {
                // Headers take space, too, and files without content have little else.
                var extractor = TarExtractor(limit: limits.bytes.clampedAdding(1 << 30))
                var piece = [UInt8](repeating: 0, count: 256 << 10)
                while case let count = try readPiece(input, &piece, path), count > 0 {
                    try cancellation.check()
                    try extractor.take(piece[..<count], into: &writer)
                }
                try extractor.finish(into: &writer)
                skipped = extractor.skipped
            }
            try writer.finish()
            return skipped
        } catch let error as BuildError {
            throw error
        } catch let error as ArchiveError {
            throw cancellation.isRequested ? .cancelled : BuildError(.other, "\(path): \(error)")
        } catch {
            throw BuildError(.other, "\(path) is not readable")
        }
    }

    /// Copies a directory's content, with modes, times and links.
    /// - Returns: how many devices, pipes and sockets were left out.
    static func copy(
        _ source: String, into directory: String, limits: FileTree.Limits, cancellation: Cancellation
    ) throws(BuildError) -> Int {
        do {
            var writer = try DirectoryWriter(path: directory, allowsOutwardLinks: true, limits: limits.forWriting)
            var walk = FileTree.Walk(limits: limits, cancellation: cancellation)
            var piece = [UInt8](repeating: 0, count: 256 << 10)
            var skipped = 0
            try walk.visit(source, prefix: []) { (item) throws(BuildError) in
                do throws(ArchiveError) {
                    guard item.entry.kind == .file else {
                        if try !writer.make(item.entry) { skipped += 1 }
                        return
                    }
                    try writer.beginFile(item.entry.name, mode: item.entry.mode, modified: item.entry.modified)
                } catch {
                    throw BuildError(.other, "\(source): \(error)")
                }
                let file = try item.open()
                defer { close(file) }
                try copy(file, item.entry, &piece, into: &writer)
            }
            try writer.finish()
            return skipped
        } catch let error as BuildError {
            throw error
        } catch {
            throw BuildError(.other, "\(source): \(error)")
        }
    }

    private static func copy(
        _ file: Int32, _ entry: TarEntry, _ piece: inout [UInt8], into writer: inout DirectoryWriter
    ) throws(BuildError) {
        while true {
            let count = try readPiece(file, &piece, printableName(entry.name))
            do throws(ArchiveError) {
                if count == 0 { return try writer.endFile() }
                try writer.write(piece[..<count])
            } catch {
                throw BuildError(.other, "\(error)")
            }
        }
    }

    /// - Returns: how many bytes were read; 0 at the end.
    private static func readPiece(_ file: Int32, _ piece: inout [UInt8], _ name: String) throws(BuildError) -> Int {
        while true {
            let count = piece.withUnsafeMutableBytes { read(file, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw .system("read", name, errno) }
            return count
        }
    }
}

extension FileTree.Limits {
    fileprivate var forWriting: DirectoryWriter.Limits {
        var limits = DirectoryWriter.Limits()
        limits.entries = entries
        limits.bytes = bytes
        limits.depth = depth
        return limits
    }
}
