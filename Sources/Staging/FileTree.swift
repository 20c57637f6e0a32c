package import Archive
import CLinux
import Glibc

/// A directory tree that strangers' programs may have written: nothing in it is followed out of it.
package enum FileTree {
    package struct Limits: Hashable, Sendable {
        /// Files, directories and links.
        package var entries = 2_000_000
        /// How deep directories may nest: a walk holds one descriptor a level.
        package var depth = 256
        /// Bytes of all files together.
        package var bytes: Int64 = 64 << 30

        package init() {}
    }

    /// Something that a walk comes to.
    package struct Item {
        /// As in an archive: the name from the tree's top with that prefix, a directory's with a slash at its end.
        /// Size, mode, owner and time are the file's.
        package var entry: TarEntry
        /// Its directory, open only during the visit.
        fileprivate let directory: Int32
        fileprivate let name: [CChar]

        /// Opens a regular file for reading.
        /// - Throws: `.other`, also if another file has taken its place.
        package func open() throws(BuildError) -> Int32 {
            let descriptor = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
            guard descriptor >= 0 else { throw .system("read", printableName(entry.name), errno) }
            var status = stat()
            guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
                close(descriptor)
                throw BuildError(.other, "\(printableName(entry.name)) was replaced while it was read")
            }
            return descriptor
        }
    }

    /// Visits a directory and all below it, each directory before what is in it, names in byte order. Of files with
    /// several names the first is a file, the others are hard links to it.
    package struct Walk {
        private let limits: Limits
        private let cancellation: Cancellation
        /// Whether something is passed over, with all below it: its name as in an archive, without a slash at its end.
        package var leavesOut: (_ name: [UInt8], _ isDirectory: Bool) -> Bool = { _, _ in false }
        private var entries = 0
        private var firstNames: [FileID: [UInt8]] = [:]

        private struct FileID: Hashable {
            let device: UInt64
            let number: UInt64
        }

        package init(limits: Limits, cancellation: Cancellation = Cancellation()) {
            self.limits = limits
            self.cancellation = cancellation
        }

        /// - Parameters:
        ///   - path: a directory, itself no link.
        ///   - prefix: its name in the archive, without a slash at the end; empty leaves the directory itself out.
        package mutating func visit(
            _ path: String, prefix: [UInt8], _ body: (Item) throws(BuildError) -> Void
        ) throws(BuildError) {
            let directory = open(path, O_RDONLY | O_CLOEXEC | O_DIRECTORY | O_NOFOLLOW)
            guard directory >= 0 else { throw .system("read the directory", path, errno) }
            defer { close(directory) }
            var status = stat()
            guard fstat(directory, &status) == 0 else { throw .system("read the directory", path, errno) }
            if !prefix.isEmpty {
                try body(Item(entry: Self.entry(prefix + Self.slash, .directory, status), directory: -1, name: []))
            }
            try visit(directory, prefix.isEmpty ? [] : prefix + Self.slash, depth: 1, body)
        }

        /// - Parameter prefix: what stands before the names in this directory, with a slash at its end.
        private mutating func visit(
            _ directory: Int32, _ prefix: [UInt8], depth: Int, _ body: (Item) throws(BuildError) -> Void
        ) throws(BuildError) {
            guard depth <= limits.depth else {
                throw BuildError(.other, "\(printableName(prefix)): directories nest deeper than \(limits.depth)")
            }
            for name in try FileTree.names(in: directory, maximum: limits.entries - entries) {
                try cancellation.check()
                entries += 1
                let fullName = prefix + name
                let text = name.map { CChar(bitPattern: $0) } + [0]
                var status = stat()
                guard fstatat(directory, text, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
                    throw .system("look at", printableName(fullName), errno)
                }
                if leavesOut(fullName, status.st_mode & S_IFMT == S_IFDIR) { continue }
                var item = Item(entry: Self.entry(fullName, .file, status), directory: directory, name: text)
                switch status.st_mode & S_IFMT {
                case S_IFREG:
                    item.entry.size = Int64(status.st_size)
                    if status.st_nlink > 1 {
                        let id = FileID(device: UInt64(status.st_dev), number: UInt64(status.st_ino))
                        if let first = firstNames[id] {
                            item.entry.kind = .hardLink
                            item.entry.linkName = first
                            item.entry.size = 0
                        } else {
                            firstNames[id] = fullName
                        }
                    }
                    try body(item)
                case S_IFLNK:
                    item.entry.kind = .symbolicLink
                    item.entry.linkName = try FileTree.target(of: text, in: directory, fullName)
                    try body(item)
                case S_IFDIR:
                    let below = openat(directory, text, O_RDONLY | O_CLOEXEC | O_DIRECTORY | O_NOFOLLOW)
                    guard below >= 0 else { throw .system("read the directory", printableName(fullName), errno) }
                    defer { close(below) }
                    item.entry.kind = .directory
                    item.entry.name += Self.slash
                    try body(item)
                    try visit(below, fullName + Self.slash, depth: depth + 1, body)
                case S_IFIFO:
                    item.entry.kind = .fifo
                    try body(item)
                case S_IFBLK:
                    item.entry.kind = .blockDevice
                    try body(item)
                default:
                    // Archives have no sockets: those count as devices, which nobody takes.
                    item.entry.kind = .characterDevice
                    try body(item)
                }
            }
        }

        private static let slash = [UInt8(ascii: "/")]

        private static func entry(_ name: [UInt8], _ kind: TarEntry.Kind, _ status: stat) -> TarEntry {
            TarEntry(
                kind: kind, name: name, mode: status.st_mode & 0o7777, userID: Int64(status.st_uid),
                groupID: Int64(status.st_gid),
                modified: status.modified)
        }
    }

    // MARK: Directories

    /// The names in a directory in byte order, without `.` and `..`.
    static func names(in directory: Int32, maximum: Int) throws(BuildError) -> [[UInt8]] {
        let copy = openat(directory, ".", O_RDONLY | O_CLOEXEC | O_DIRECTORY)
        guard copy >= 0, let stream = fdopendir(copy) else {
            let code = errno
            if copy >= 0 { close(copy) }
            throw .system("read", "a directory", code)
        }
        defer { closedir(stream) }
        var names: [[UInt8]] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if name == [UInt8(ascii: ".")] || name == [UInt8(ascii: "."), UInt8(ascii: ".")] { continue }
            guard names.count < maximum else { throw BuildError(.other, "a tree has too many files") }
            names.append(name)
        }
        return names.sorted { $0.lexicographicallyPrecedes($1) }
    }

    private static func target(of name: [CChar], in directory: Int32, _ fullName: [UInt8]) throws(BuildError) -> [UInt8]
    {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let room = buffer.count
        let count = buffer.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.map { readlinkat(directory, name, $0, room) } ?? -1
        }
        guard count >= 0 else { throw .system("read the link", printableName(fullName), errno) }
        return buffer[..<count].map { UInt8(bitPattern: $0) }
    }

    /// Makes a directory and those above it.
    static func makeDirectory(_ path: String) throws(BuildError) {
        var made = path.hasPrefix("/") ? "" : "."
        for part in path.split(separator: "/") {
            made += "/" + part
            guard mkdir(made, 0o755) == 0 || errno == EEXIST else { throw .system("make", made, errno) }
        }
        guard isDirectory(path) else { throw .system("make", path, ENOTDIR) }
    }

    static func isDirectory(_ path: String) -> Bool { status(path).map { $0.st_mode & S_IFMT == S_IFDIR } ?? false }

    static func exists(_ path: String) -> Bool { status(path) != nil }

    /// Whether the file system of a path has less than 64 KiB left for those who are not root.
    static func isFull(_ path: String) -> Bool {
        var status = statvfs()
        guard statvfs(path, &status) == 0 else { return false }
        return UInt64(status.f_bavail) * UInt64(status.f_frsize) < 64 << 10
    }

    /// Whether there is anything with this name, a link that leads nowhere included.
    static func isTaken(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }

    /// What a path, or the link there, leads to; nil if there is nothing.
    static func status(_ path: String) -> stat? {
        var status = stat()
        return stat(path, &status) == 0 ? status : nil
    }

    /// Removes a file, a link or a whole tree; links are not followed, and what is missing already is fine.
    package static func remove(_ path: String) throws(BuildError) {
        try remove(path, at: AT_FDCWD, depth: 0, path)
    }

    private static func remove(_ name: String, at directory: Int32, depth: Int, _ path: String) throws(BuildError) {
        try remove(Array(name.utf8CString), at: directory, depth: depth, path)
    }

    private static func remove(_ name: [CChar], at directory: Int32, depth: Int, _ path: String) throws(BuildError) {
        if unlinkat(directory, name, 0) == 0 || errno == ENOENT { return }
        guard errno == EISDIR || errno == EPERM else { throw .system("remove", path, errno) }
        guard depth < 1000 else { throw BuildError(.other, "can't remove \(path): directories nest too deep") }
        var below = openat(directory, name, O_RDONLY | O_CLOEXEC | O_DIRECTORY | O_NOFOLLOW)
        if below < 0 && errno == EACCES, fchmodat(directory, name, 0o700, 0) == 0 {
            below = openat(directory, name, O_RDONLY | O_CLOEXEC | O_DIRECTORY | O_NOFOLLOW)
        }
        guard below >= 0 else { throw .system("remove", path, errno) }
        defer { close(below) }
        let names = try names(in: below, maximum: .max)
        // Only who may write a directory may remove what is in it.
        if !names.isEmpty { fchmod(below, 0o700) }
        for inner in names {
            try remove(inner.map { CChar(bitPattern: $0) } + [0], at: below, depth: depth + 1, path)
        }
        guard unlinkat(directory, name, AT_REMOVEDIR) == 0 || errno == ENOENT else {
            throw .system("remove", path, errno)
        }
    }
}

extension stat {
    /// The time of the last modification.
    var modified: TarTime {
        TarTime(seconds: Int64(st_mtim.tv_sec), nanoseconds: Int32(clamping: st_mtim.tv_nsec))
    }
}
