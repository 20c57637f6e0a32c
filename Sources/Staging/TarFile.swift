import Archive
import CLinux
import Glibc

/// A gzipped tar archive that is written to a file piece by piece. It gets its name only when it is whole.
///
/// The same entries give the same bytes: names are sorted by the caller, owners are always 2000, times come from a
/// `TimeRule`, and the compressor is fed pieces of one size.
final class TarFile {
    /// The time that entries get which the build made: 1980-01-01T00:00:01Z. Zip archives can hold it, and Cloud Native
    /// Buildpacks use it.
    static let constantTime: Int64 = 315_532_801
    /// The user and the group of every entry.
    private static let owner: Int64 = 2000
    /// Bytes of the archive that are compressed at once.
    private static let bufferSize = 16 * Compressor.pieceSize

    private let path: String
    private let partial: String
    private let descriptor: Int32
    private let cancellation: Cancellation
    private var compressor: Compressor
    private var buffer: UnsafeMutableRawBufferPointer
    private var filled = 0
    private var isDone = false
    /// How many devices, pipes and sockets were left out.
    private(set) var skipped: [String] = []

    /// - Parameter path: where the file will be. What lies there, or in its place while it is being written, is
    ///   replaced; a link is not followed.
    init(_ path: String, cancellation: Cancellation) throws(BuildError) {
        self.path = path
        self.cancellation = cancellation
        partial = path + ".partial"
        unlink(partial)
        descriptor = open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o644)
        guard descriptor >= 0 else { throw .system("write", partial, errno) }
        do {
            compressor = try Compressor(.gzip)
        } catch {
            throw BuildError(.other, "\(error)")
        }
        buffer = .allocate(byteCount: Self.bufferSize, alignment: 64)
    }

    deinit {
        close(descriptor)
        buffer.deallocate()
        if !isDone { unlink(partial) }
    }

    /// Appends a directory and all below it.
    /// - Parameters:
    ///   - prefix: the directory's name in the archive, without a slash at the end.
    ///   - keepsTimesBefore: files that were last changed before that keep their time, in whole seconds; nil: none do.
    func append(
        _ directory: String, prefix: String, walk: inout FileTree.Walk, keepsTimesBefore: TarTime?
    ) throws(BuildError) {
        try walk.visit(directory, prefix: Array(prefix.utf8)) { (item) throws(BuildError) in
            var item = item
            let time = item.entry.modified
            let keepsTime = item.entry.kind == .file || item.entry.kind == .hardLink
            if keepsTime, let keepsTimesBefore, time < keepsTimesBefore {
                item.entry.modified = TarTime(seconds: time.seconds)
            } else {
                item.entry.modified = TarTime(seconds: Self.constantTime)
            }
            switch item.entry.kind {
            case .fifo, .characterDevice, .blockDevice:
                if skipped.count < 20 { skipped.append(printableName(item.entry.name)) }
            case .file: try append(item)
            case .directory, .symbolicLink, .hardLink: try append(header: item.entry)
            }
        }
    }

    /// Appends a directory that is not on the disk.
    func append(directory name: String) throws(BuildError) {
        try append(
            header: TarEntry(
                kind: .directory, name: Array(name.utf8), mode: 0o755, modified: TarTime(seconds: Self.constantTime)))
    }

    /// Appends a file that is not on the disk.
    func append(file name: String, _ content: [UInt8]) throws(BuildError) {
        try append(
            header: TarEntry(
                kind: .file, name: Array(name.utf8), mode: 0o644, modified: TarTime(seconds: Self.constantTime),
                size: Int64(content.count)))
        try append(content)
        try append([UInt8](repeating: 0, count: TarWriter.padding(Int64(content.count))))
    }

    private func append(_ item: FileTree.Item) throws(BuildError) {
        let file = try item.open()
        defer { close(file) }
        try append(header: item.entry)
        var left = item.entry.size
        while left > 0 {
            let room = UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
            let count = read(file, room.baseAddress, Int(min(Int64(room.count), left)))
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw .system("read", printableName(item.entry.name), errno) }
            guard count > 0 else {
                throw BuildError(.other, "\(printableName(item.entry.name)) became shorter while it was read")
            }
            filled += count
            left -= Int64(count)
            if filled == buffer.count { try flush() }
        }
        try append([UInt8](repeating: 0, count: TarWriter.padding(item.entry.size)))
    }

    private func append(header entry: TarEntry) throws(BuildError) {
        var entry = entry
        entry.userID = Self.owner
        entry.groupID = Self.owner
        var header: [UInt8] = []
        TarWriter.append(entry, to: &header)
        try append(header)
    }

    private func append(_ bytes: [UInt8]) throws(BuildError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = rest.prefix(buffer.count - filled)
            UnsafeMutableRawBufferPointer(rebasing: buffer[filled...]).copyBytes(from: piece)
            filled += piece.count
            rest = rest.dropFirst(piece.count)
            if filled == buffer.count { try flush() }
        }
    }

    private func flush(isLast: Bool = false) throws(BuildError) {
        try cancellation.check()
        let output: [UInt8]
        do {
            output = try compressor.compress(UnsafeRawBufferPointer(rebasing: buffer[..<filled]), isLast: isLast)
        } catch {
            throw BuildError(.other, "\(error)")
        }
        filled = 0
        var rest = output[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw .system("write", partial, errno) }
            rest = rest.dropFirst(count)
        }
    }

    /// Ends the archive and gives it its name.
    func finish() throws(BuildError) {
        try append([UInt8](repeating: 0, count: TarWriter.endLength))
        try flush(isLast: true)
        guard rename(partial, path) == 0 else { throw .system("write", path, errno) }
        isDone = true
    }
}

// MARK: - What comes out of a build

extension Build {
    func writeDroplet(_ stagingInfo: [UInt8], started: TarTime) throws(BuildError) {
        // A buildpack may have removed what it had no use for.
        for path in places.contentsDirectories { try FileTree.makeDirectory(path) }
        let file = try TarFile(places.droplet, cancellation: cancellation)
        // One walk: a hard link may lead from one of the directories to another.
        var walk = FileTree.Walk(limits: limits, cancellation: cancellation)
        try file.append(directory: "./")
        try file.append(places.buildDirectory, prefix: "./app", walk: &walk, keepsTimesBefore: started)
        try file.append(places.deps, prefix: "./deps", walk: &walk, keepsTimesBefore: nil)
        try file.append(places.contents + "/logs", prefix: "./logs", walk: &walk, keepsTimesBefore: nil)
        try file.append(places.profile, prefix: "./profile.d", walk: &walk, keepsTimesBefore: nil)
        try file.append(file: "./staging_info.yml", stagingInfo)
        try file.append(places.contents + "/tmp", prefix: "./tmp", walk: &walk, keepsTimesBefore: nil)
        try file.finish()
        for name in file.skipped { log.note("left out, for it is a device, a pipe or a socket: \(name)") }
    }

    func writeCache() throws(BuildError) {
        let file = try TarFile(places.newCache, cancellation: cancellation)
        var walk = FileTree.Walk(limits: limits, cancellation: cancellation)
        // Times are kept: build tools compare them.
        try file.append(places.cache, prefix: ".", walk: &walk, keepsTimesBefore: TarTime(seconds: .max))
        try file.finish()
    }
}

/// Small files of the build that are written whole or not at all.
enum WholeFile {
    static func write(_ bytes: [UInt8], to path: String) throws(BuildError) {
        let partial = path + ".partial"
        unlink(partial)
        let descriptor = open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o644)
        guard descriptor >= 0 else { throw .system("write", partial, errno) }
        defer { close(descriptor) }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else {
                let code = errno
                unlink(partial)
                throw .system("write", partial, code)
            }
            rest = rest.dropFirst(count)
        }
        guard rename(partial, path) == 0 else {
            let code = errno
            unlink(partial)
            throw .system("write", path, code)
        }
    }
}
