import Archive
import CLinux
import Glibc
import JSON

/// Unpacks the archives that buildpacks come in: zip, and tar as it is or compressed with gzip or zstd.
enum ArchiveUnpacker {
    enum Format {
        case zip
        case tar
    }

    /// What a file is, by its first bytes; nil if it is neither.
    /// - Throws: `TransferFailure`, `.file`.
    static func format(of path: String) throws(TransferFailure) -> Format? {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { throw .file(path) }
        defer { close(file) }
        var head = [UInt8](repeating: 0, count: 512)
        let count = pread(file, &head, head.count, 0)
        guard count >= 0 else { throw .file(path) }
        // An entry, or the end of a zip without entries.
        if [[0x50, 0x4b, 3, 4], [0x50, 0x4b, 5, 6]].contains(Array(head[..<4])) { return .zip }
        if CompressionFormat(detecting: head[..<4]) != .none { return .tar }
        return count == 512 && Array(head[257..<262]) == Array("ustar".utf8) ? .tar : nil
    }

    /// Unpacks an archive into a directory that exists. After an error the directory is left half filled.
    /// - Parameter limit: bytes of all files together.
    /// - Throws: `TransferFailure`, which does not name the archive.
    static func unpack(_ path: String, _ format: Format, into directory: String, limit: Int64) throws(TransferFailure) {
        do {
            var limits = DirectoryWriter.Limits()
            limits.bytes = limit
            var writer = try DirectoryWriter(path: directory, replacesExisting: true, limits: limits)
            switch format {
            case .zip:
                var reader = try ZipReader(path: path)
                try reader.extract(into: &writer)
            case .tar: try unpackTar(path, into: &writer, limit: limit)
            }
            try writer.finish()
        } catch let error as ArchiveError {
            switch error.fault {
            case .invalid: throw TransferFailure(.corrupt, error.description)
            case .tooLarge: throw TransferFailure(.tooLarge, error.description)
            case .system(ENOSPC), .system(EDQUOT): throw .file(directory, ENOSPC)
            case .system, .noMemory, .cancelled: throw TransferFailure(.file, error.description)
            }
        } catch let error as TransferFailure {
            throw error
        } catch {
            throw TransferFailure(.file, "\(error)")
        }
    }

    private static func unpackTar(_ path: String, into writer: inout DirectoryWriter, limit: Int64) throws {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw TransferFailure.file(path) }
        defer { close(file) }
        var piece = [UInt8](repeating: 0, count: 256 << 10)
        // Headers take space, too, and files without content have little else.
        var extractor = TarExtractor(limit: limit.clampedAdding(1 << 30))
        while true {
            let count = read(file, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw TransferFailure.file(path) }
            if count == 0 { return try extractor.finish(into: &writer) }
            try extractor.take(piece[..<count], into: &writer)
            guard !Task.isCancelled else { throw CancellationError() }
        }
    }
}
