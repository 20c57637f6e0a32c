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
                var source = TarSource(input, cancellation)
                try source.read(into: &writer)
                skipped = source.skipped
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
            let count = piece.withUnsafeMutableBytes { read(file, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw .system("read", printableName(entry.name), errno) }
            do throws(ArchiveError) {
                if count == 0 { return try writer.endFile() }
                try writer.write(piece, 0..<count)
            } catch {
                throw BuildError(.other, "\(error)")
            }
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

extension DirectoryWriter {
    /// Creates a directory or a link. - Returns: false for what is left out.
    fileprivate mutating func make(_ entry: TarEntry) throws(ArchiveError) -> Bool {
        switch entry.kind {
        case .directory: try makeDirectory(entry.name, mode: entry.mode, modified: entry.modified)
        case .symbolicLink:
            try makeSymbolicLink(entry.name, target: entry.linkName, modified: entry.modified)
        case .hardLink: try makeHardLink(entry.name, target: entry.linkName)
        case .file, .fifo, .characterDevice, .blockDevice: return false
        }
        return true
    }

    fileprivate mutating func write(_ bytes: [UInt8], _ range: Range<Int>) throws(ArchiveError) {
        // A closure of withUnsafeBytes would forget the error's type.
        let result = bytes.withUnsafeBytes { bytes -> Result<Void, ArchiveError> in
            Result { () throws(ArchiveError) in try write(UnsafeRawBufferPointer(rebasing: bytes[range])) }
        }
        try result.get()
    }
}

/// A tar archive that is read from a descriptor.
private struct TarSource: ~Copyable {
    private let input: Int32
    private let cancellation: Cancellation
    private var decompressor = Decompressor()
    private var reader = TarReader()
    private var compressed = [UInt8](repeating: 0, count: 256 << 10)
    private var (start, end, atEnd) = (0, 0, false)
    private var window = [UInt8](repeating: 0, count: 256 << 10)
    private var filled = 0
    private var isInFile = false
    private(set) var skipped = 0

    init(_ input: Int32, _ cancellation: Cancellation) {
        self.input = input
        self.cancellation = cancellation
    }

    mutating func read(into writer: inout DirectoryWriter) throws {
        while true {
            try fill()
            let taken = try take(&writer)
            if taken == 0 && atEnd {
                guard filled == 0 else { throw BuildError(.other, "the archive is truncated") }
                if isInFile { try writer.endFile() }
                try decompressor.finish()
                return try reader.finish()
            }
            window.replaceSubrange(0..<filled - taken, with: Array(window[taken..<filled]))
            filled -= taken
        }
    }

    /// Decompresses until the window is full or the input has ended.
    private mutating func fill() throws {
        while filled < window.count {
            let step = try decompress()
            start += step.consumed
            filled += step.produced
            if step.consumed > 0 || step.produced > 0 { continue }
            if atEnd { return }
            try cancellation.check()
            let count = compressed.withUnsafeMutableBytes { Glibc.read(input, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw BuildError.system("read", "the archive", errno) }
            (start, end, atEnd) = (0, count, count == 0)
        }
    }

    private mutating func decompress() throws -> Decompressor.Step {
        let (start, end, filled) = (start, end, filled)
        let source = compressed
        return try window.withUnsafeMutableBytes { target in
            try source.withUnsafeBytes { source in
                try decompressor.step(
                    UnsafeRawBufferPointer(rebasing: source[start..<end]),
                    into: UnsafeMutableRawBufferPointer(rebasing: target[filled...]))
            }
        }
    }

    /// Takes as much of the window as the reader wants.
    private mutating func take(_ writer: inout DirectoryWriter) throws -> Int {
        let window = window
        var position = 0
        while true {
            var consumed = 0
            let event = try reader.next(window.span.extracting(position..<filled), consumed: &consumed)
            position += consumed
            switch event {
            case .needsInput: return position
            case .entry(let entry):
                if isInFile { try writer.endFile() }
                isInFile = entry.kind == .file
                if isInFile {
                    try writer.beginFile(entry.name, mode: entry.mode, modified: entry.modified)
                } else if try !writer.make(entry) {
                    skipped += 1
                }
            case .content(let length):
                try writer.write(window, position..<position + length)
                position += length
            case .hole(let length): try writer.writeHole(length)
            }
        }
    }
}
