package import Archive
import CLinux
import Glibc
import JSON

/// Writes an archive's entries into a directory. Nothing is written outside of it, and no link in it is followed, so
/// that an archive can't reach out of the directory whatever is in it.
///
/// Setuid, setgid and sticky bits are dropped, and owners are those of this process. Devices, pipes and sockets are
/// left out and counted.
package struct DirectoryUnpacker: ~Copyable {
    private let root: Int32
    private let limits: FileTree.Limits
    private var file: Int32 = -1
    private var fileTime = TarTime(seconds: 0)
    private var entries = 0
    private var bytes: Int64 = 0
    /// The parent of the last entry stays open, since the next one is mostly there, too.
    private var parent: (path: [UInt8], descriptor: Int32)?
    /// How many entries were left out.
    package private(set) var skipped = 0

    /// - Parameter path: an existing directory.
    package init(into path: String, limits: FileTree.Limits = FileTree.Limits()) throws(BuildError) {
        root = open(path, O_RDONLY | O_CLOEXEC | O_DIRECTORY)
        guard root >= 0 else { throw .system("open", path, errno) }
        self.limits = limits
    }

    deinit {
        if file >= 0 { close(file) }
        if let parent { close(parent.descriptor) }
        close(root)
    }

    /// Begins an entry. A file's content comes by `write` and ends with `endFile`.
    /// - Throws: for a name that is absolute, has `..` or leads through a link or a file; past the limits.
    package mutating func begin(_ entry: TarEntry) throws(BuildError) {
        entries += 1
        guard entries <= limits.entries else { throw BuildError(.other, "the archive has too many entries") }
        let parts = try Self.parts(entry.name)
        guard let last = parts.last else {
            // The top directory itself.
            guard entry.kind == .directory else { throw refuse(entry, "it has no name") }
            return
        }
        let parent = try openParent(parts.dropLast(), entry)
        let name = last.map { CChar(bitPattern: $0) } + [0]
        switch entry.kind {
        case .directory:
            if mkdirat(parent, name, 0o700) != 0 {
                guard errno == EEXIST else { throw .system("make", printableName(entry.name), errno) }
            }
            let directory = openat(parent, name, O_RDONLY | O_CLOEXEC | O_DIRECTORY | O_NOFOLLOW)
            guard directory >= 0 else { throw refuse(entry, "something else is there") }
            // The owner has to be able to write into it and to remove it.
            fchmod(directory, entry.mode & 0o777 | 0o700)
            close(directory)
        case .file:
            try clear(name, parent, entry)
            file = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
            guard file >= 0 else { throw .system("write", printableName(entry.name), errno) }
            fchmod(file, entry.mode & 0o777)
            fileTime = entry.modified
        case .symbolicLink:
            try clear(name, parent, entry)
            let target = entry.linkName.map { CChar(bitPattern: $0) } + [0]
            guard symlinkat(target, parent, name) == 0 else {
                throw .system("make the link", printableName(entry.name), errno)
            }
        case .hardLink: try link(entry, name, parent)
        case .fifo, .characterDevice, .blockDevice: skipped += 1
        }
    }

    /// Writes the next bytes of the file that was begun.
    package mutating func write(_ piece: UnsafeRawBufferPointer) throws(BuildError) {
        try count(Int64(piece.count))
        var rest = piece
        while !rest.isEmpty {
            let written = Glibc.write(file, rest.baseAddress, rest.count)
            if written < 0 && errno == EINTR { continue }
            guard written > 0 else { throw .system("write", "a file of the archive", errno) }
            rest = UnsafeRawBufferPointer(rebasing: rest[written...])
        }
    }

    /// Leaves so many bytes of the file out: they read as zeros.
    package mutating func skip(_ length: Int64) throws(BuildError) {
        try count(length)
        let end = lseek(file, off_t(length), Int32(SEEK_CUR))
        guard end >= 0, ftruncate(file, end) == 0 else { throw .system("write", "a file of the archive", errno) }
    }

    /// Ends the file that was begun, if one was.
    package mutating func endFile() throws(BuildError) {
        guard file >= 0 else { return }
        let time = timespec(tv_sec: Int(fileTime.seconds), tv_nsec: Int(fileTime.nanoseconds))
        _ = futimens(file, [time, time])
        let result = close(file)
        file = -1
        guard result == 0 else { throw .system("write", "a file of the archive", errno) }
    }

    // MARK: Names

    private func refuse(_ entry: TarEntry, _ reason: String) -> BuildError {
        BuildError(.other, "the archive's entry \(printableName(entry.name)) is refused: \(reason)")
    }

    private static func parts(_ name: [UInt8]) throws(BuildError) -> [[UInt8]] {
        let parts = name.split(separator: UInt8(ascii: "/")).map { Array($0) }.filter { $0 != [UInt8(ascii: ".")] }
        guard name.first != UInt8(ascii: "/"), !name.contains(0), !parts.contains([0x2E, 0x2E]) else {
            throw BuildError(.other, "the archive's entry \(printableName(name)) leads out of it")
        }
        return parts
    }

    private mutating func count(_ more: Int64) throws(BuildError) {
        bytes += more
        guard more >= 0, bytes <= limits.bytes else { throw BuildError(.other, "the archive is too large") }
    }

    /// Opens a directory below the root, and makes it if it is missing. It stays open until another one is asked for.
    private mutating func openParent(_ parts: ArraySlice<[UInt8]>, _ entry: TarEntry) throws(BuildError) -> Int32 {
        guard parts.count <= limits.depth else { throw refuse(entry, "directories nest too deep") }
        let path = Array(parts.joined(separator: [UInt8(ascii: "/")]))
        if let parent, parent.path == path { return parent.descriptor }
        if let parent { close(parent.descriptor) }
        parent = nil
        let flags = O_RDONLY | O_DIRECTORY
        func open(_ path: some Sequence<UInt8>) -> Int32 {
            clinux_open_beneath(root, path.map { CChar(bitPattern: $0) } + [0], flags, 0)
        }
        var descriptor = open(path.isEmpty ? [UInt8(ascii: ".")] : path)
        if descriptor < 0 && errno == ENOENT {
            var directory = open([UInt8(ascii: ".")])
            for part in parts where directory >= 0 {
                let name = part.map { CChar(bitPattern: $0) } + [0]
                if mkdirat(directory, name, 0o755) != 0 && errno != EEXIST { break }
                let below = openat(directory, name, flags | O_CLOEXEC | O_NOFOLLOW)
                close(directory)
                directory = below
            }
            if directory >= 0 { close(directory) }
            descriptor = open(path)
        }
        guard descriptor >= 0 else {
            throw refuse(
                entry, errno == ELOOP || errno == ENOTDIR ? "it lies below a link or a file" : String(cString: strerror(errno)))
        }
        parent = (path, descriptor)
        return descriptor
    }

    /// Removes a file or a link that is in an entry's place: in an archive the last of equal names counts.
    private func clear(_ name: [CChar], _ parent: Int32, _ entry: TarEntry) throws(BuildError) {
        guard unlinkat(parent, name, 0) == 0 || errno == ENOENT else {
            throw refuse(entry, "a directory is in its place")
        }
    }

    private func link(_ entry: TarEntry, _ name: [CChar], _ parent: Int32) throws(BuildError) {
        let parts = try Self.parts(entry.linkName)
        guard let last = parts.last else { throw refuse(entry, "its target has no name") }
        let above = [UInt8(ascii: "."), UInt8(ascii: "/")] + Array(parts.dropLast().joined(separator: [UInt8(ascii: "/")]))
        let directory = clinux_open_beneath(
            root, above.map { CChar(bitPattern: $0) } + [0], O_RDONLY | O_DIRECTORY, 0)
        guard directory >= 0 else { throw refuse(entry, "its target is not there") }
        defer { close(directory) }
        let target = last.map { CChar(bitPattern: $0) } + [0]
        try clear(name, parent, entry)
        guard linkat(directory, target, parent, name, 0) == 0 else {
            throw refuse(entry, errno == ENOENT ? "its target is not there" : String(cString: strerror(errno)))
        }
    }
}

extension DirectoryUnpacker {
    /// Unpacks a tar archive, compressed or not.
    /// - Parameters:
    ///   - path: a regular file; no link is followed.
    ///   - ratio: how many times its compressed size an archive may grow to, 64 MiB aside.
    /// - Returns: how many entries were left out.
    /// - Throws: for an archive that is not readable, too large or refused; the directory then holds a part of it.
    package static func unpack(
        tar path: String, into directory: String, limits: FileTree.Limits = FileTree.Limits(), ratio: Int64 = 1000,
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
        var unpacker = try DirectoryUnpacker(into: directory, limits: limits)
        do {
            try unpacker.takeTar(from: input, cancellation)
        } catch let error as ArchiveError {
            throw BuildError(.other, "\(path): \(error)")
        } catch let error as BuildError {
            throw error
        } catch {
            throw BuildError(.other, "\(path) is not readable")
        }
        return unpacker.skipped
    }

    private mutating func takeTar(from input: Int32, _ cancellation: Cancellation) throws {
        var decompressor = Decompressor()
        var reader = TarReader()
        var compressed = [UInt8](repeating: 0, count: 256 << 10)
        var window = [UInt8](repeating: 0, count: 256 << 10)
        var (start, end, filled) = (0, 0, 0)
        var atEnd = false
        while true {
            // Decompress until the window is full or the input has ended.
            while filled < window.count {
                let step = try compressed.withUnsafeBytes { source in
                    try window.withUnsafeMutableBytes { target in
                        try decompressor.step(
                            UnsafeRawBufferPointer(rebasing: source[start..<end]),
                            into: UnsafeMutableRawBufferPointer(rebasing: target[filled...]))
                    }
                }
                start += step.consumed
                filled += step.produced
                if step.consumed > 0 || step.produced > 0 { continue }
                if atEnd { break }
                try cancellation.check()
                let count = compressed.withUnsafeMutableBytes { read(input, $0.baseAddress, $0.count) }
                if count < 0 && errno == EINTR { continue }
                guard count >= 0 else { throw BuildError.system("read", "the archive", errno) }
                (start, end, atEnd) = (0, count, count == 0)
            }
            let taken = try take(window, filled, &reader)
            if taken == 0 && atEnd {
                guard filled == 0 else { throw BuildError(.other, "the archive is truncated") }
                try endFile()
                try decompressor.finish()
                try reader.finish()
                return
            }
            window.replaceSubrange(0..<filled - taken, with: Array(window[taken..<filled]))
            filled -= taken
        }
    }

    /// Takes as much of the window as the reader wants.
    private mutating func take(_ window: [UInt8], _ filled: Int, _ reader: inout TarReader) throws -> Int {
        var position = 0
        while true {
            var consumed = 0
            let event = try reader.next(window.span.extracting(position..<filled), consumed: &consumed)
            position += consumed
            switch event {
            case .needsInput: return position
            case .entry(let entry):
                try endFile()
                try begin(entry)
            case .content(let length):
                try window.withUnsafeBytes {
                    try write(UnsafeRawBufferPointer(rebasing: $0[position..<position + length]))
                }
                position += length
            case .hole(let length): try skip(length)
            }
        }
    }
}

extension DirectoryUnpacker {
    /// Copies a directory's content, with modes, times and links.
    /// - Returns: how many devices, pipes and sockets were left out.
    static func copy(
        _ source: String, into directory: String, limits: FileTree.Limits, cancellation: Cancellation
    ) throws(BuildError) -> Int {
        var unpacker = try DirectoryUnpacker(into: directory, limits: limits)
        var walk = FileTree.Walk(limits: limits, cancellation: cancellation)
        var piece = [UInt8](repeating: 0, count: 256 << 10)
        try unpacker.take(&walk, source, &piece)
        return unpacker.skipped
    }

    private mutating func take(_ walk: inout FileTree.Walk, _ source: String, _ piece: inout [UInt8]) throws(BuildError) {
        try walk.visit(source, prefix: []) { (item) throws(BuildError) in
            try begin(item.entry)
            guard item.entry.kind == .file else { return }
            let file = try item.open()
            defer { close(file) }
            while true {
                let count = piece.withUnsafeMutableBytes { read(file, $0.baseAddress, $0.count) }
                if count < 0 && errno == EINTR { continue }
                guard count >= 0 else { throw .system("read", printableName(item.entry.name), errno) }
                if count == 0 { break }
                // Not `write` within the closure of withUnsafeBytes, which would forget the error's type.
                let result = piece.withUnsafeBytes { bytes -> Result<Void, BuildError> in
                    Result { () throws(BuildError) in
                        try write(UnsafeRawBufferPointer(rebasing: bytes[..<count]))
                    }
                }
                try result.get()
            }
            try endFile()
        }
    }
}
