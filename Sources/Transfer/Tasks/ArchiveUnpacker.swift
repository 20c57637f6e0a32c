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
        let block = 256 << 10
        var input = [UInt8](repeating: 0, count: block)
        var output = [UInt8](repeating: 0, count: block)
        var tar = TarUnpacker(limit: limit)
        var decompressor = Decompressor()
        while true {
            let count = read(file, &input, block)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw TransferFailure.file(path) }
            var start = 0
            repeat {
                let step = try input[start..<count].withUnsafeBytes { source in
                    try output.withUnsafeMutableBytes { target in
                        try decompressor.step(source, into: target)
                    }
                }
                start += step.consumed
                try tar.take(output[..<step.produced], into: &writer)
                if step.produced == 0, step.consumed == 0 { break }
            } while true
            if count == 0 { break }
            guard !Task.isCancelled else { throw CancellationError() }
        }
        try decompressor.finish()
        try tar.finish(into: &writer)
    }
}

/// Hands the entries of a tar archive to a directory writer.
private struct TarUnpacker {
    private var reader = TarReader()
    /// What is left of the last bytes, which is too short for a header.
    private var rest: [UInt8] = []
    private var total: Int64 = 0
    private let limit: Int64
    private var isInFile = false

    init(limit: Int64) { self.limit = limit }

    mutating func take(_ bytes: ArraySlice<UInt8>, into writer: inout DirectoryWriter) throws {
        total += Int64(bytes.count)
        // Headers take space, too, and files without content have little else.
        guard total <= limit.clampedAdding(1 << 30) else {
            throw TransferFailure(.tooLarge, "it unpacks to more than \(limit) bytes")
        }
        let window = rest + bytes
        var offset = 0
        loop: while true {
            var consumed = 0
            let event = try reader.next(window.span.extracting(offset..<window.count), consumed: &consumed)
            offset += consumed
            switch event {
            case .needsInput: break loop
            case .entry(let entry):
                try endFile(&writer)
                try begin(entry, in: &writer)
            case .content(let count):
                if isInFile {
                    try window.withUnsafeBytes { bytes in
                        try writer.write(UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count]))
                    }
                }
                offset += count
            case .hole(let count): if isInFile { try writer.writeHole(count) }
            }
        }
        rest = Array(window[offset...])
    }

    mutating func finish(into writer: inout DirectoryWriter) throws(ArchiveError) {
        try endFile(&writer)
        try reader.finish()
    }

    private mutating func endFile(_ writer: inout DirectoryWriter) throws(ArchiveError) {
        guard isInFile else { return }
        isInFile = false
        try writer.endFile()
    }

    private mutating func begin(_ entry: TarEntry, in writer: inout DirectoryWriter) throws(ArchiveError) {
        switch entry.kind {
        case .directory: try writer.makeDirectory(entry.name, mode: entry.mode, modified: entry.modified)
        case .file:
            try writer.beginFile(entry.name, mode: entry.mode, modified: entry.modified)
            isInFile = true
        case .symbolicLink:
            try writer.makeSymbolicLink(entry.name, target: entry.linkName, modified: entry.modified)
        case .hardLink: try writer.makeHardLink(entry.name, target: entry.linkName)
        // No buildpack needs them, and a build has no use for them.
        case .characterDevice, .blockDevice, .fifo: break
        }
    }
}
