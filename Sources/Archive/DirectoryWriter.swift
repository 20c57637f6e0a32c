import CLinux
import Glibc

/// Creates files, directories and links below one directory, whatever their names say.
///
/// Names are relative; `.` and empty parts are dropped. Absolute names, `..`, NUL, and names that lead through anything
/// but a directory are refused, so that nothing is ever written through a symbolic link. A symbolic link is kept if
/// its target stays below the directory, or anyway where that is allowed; a hard link's target must be a regular file
/// below it. Directories that have no
/// entry of their own get mode 0755. Everything belongs to the process's user; set-user-ID and set-group-ID bits are
/// dropped, and a directory always keeps its owner's permissions, so that it can be removed.
///
/// It holds two descriptors besides the directory's, and remembers the directories until `finish`. After an error the
/// directory is left half filled: the caller removes it.
public struct DirectoryWriter: ~Copyable {
    /// Bounds; going over one throws `ArchiveError.Fault.tooLarge`.
    public struct Limits: Hashable, Sendable {
        /// What may be created, directories without an entry of their own included.
        public var entries = 1_000_000
        /// Bytes of all files, holes included.
        public var bytes: Int64 = 32 << 30
        /// Bytes of a name or of a link's target.
        public var nameLength = 4095
        /// Parts of a name.
        public var depth = 128

        public init() {}
    }

    /// Bytes of a name's part (NAME_MAX).
    private static let partLength = 255

    private let limits: Limits
    private let replaces: Bool
    private let allowsOutwardLinks: Bool
    private let root: Int32
    /// The directory that was used last, open; `root` itself if `parentParts` is empty.
    private var parent: Int32
    private var parentParts: [[UInt8]] = []
    private var file: File?
    private var directories: [Directory] = []
    /// Symbolic links whose targets can only be judged when all is there.
    private var doubtfulLinks: [[UInt8]] = []

    /// How much was created so far, directories without an entry of their own included.
    public private(set) var entries = 0
    /// How many bytes the files have so far.
    public private(set) var bytes: Int64 = 0

    struct File {
        let descriptor: Int32
        let name: [UInt8]
        let mode: UInt32
        let modified: TarTime?
        var size: Int64 = 0
        var endsWithHole = false
    }

    struct Directory {
        let name: [UInt8]
        let mode: UInt32
        let modified: TarTime?
    }

    /// - Parameters:
    ///   - path: an existing directory, usually an empty one.
    ///   - replacesExisting: whether a file or link takes the place of one with the same name. Otherwise the second is
    ///     refused. Directories may come several times; the last one's mode and time count.
    ///   - allowsOutwardLinks: whether symbolic links may lead out of the directory. Nothing is written through them,
    ///     but whoever reads the tree later must not follow them.
    /// - Throws: `ArchiveError.Fault.system` if the directory can't be opened.
    public init(
        path: String, replacesExisting: Bool = false, allowsOutwardLinks: Bool = false, limits: Limits = Limits()
    ) throws(ArchiveError) {
        let opened = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard opened >= 0 else { throw .system(errno, "the directory can't be opened") }
        root = opened
        parent = opened
        self.limits = limits
        replaces = replacesExisting
        self.allowsOutwardLinks = allowsOutwardLinks
    }

    /// - Parameter descriptor: an open directory; it is duplicated, and stays the caller's.
    public init(
        descriptor: Int32, replacesExisting: Bool = false, allowsOutwardLinks: Bool = false, limits: Limits = Limits()
    ) throws(ArchiveError) {
        let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0 else { throw .system(errno, "the directory can't be used") }
        root = copy
        parent = copy
        self.limits = limits
        replaces = replacesExisting
        self.allowsOutwardLinks = allowsOutwardLinks
    }

    deinit {
        if let file { close(file.descriptor) }
        if parent != root { close(parent) }
        close(root)
    }

    // MARK: - Entries

    /// Creates a directory, or takes over the one that is there.
    ///
    /// - Parameters:
    ///   - mode: permission and sticky bits.
    ///   - modified: its time when all is done; nil: whatever the system gives it.
    /// - Throws: `ArchiveError` that names the entry. An entry for the root itself changes nothing.
    public mutating func makeDirectory(
        _ name: [UInt8], mode: UInt32, modified: TarTime? = nil
    ) throws(ArchiveError) {
        let parts = try parts(of: name)
        guard !parts.isEmpty else { return }
        let before = entries
        _ = try enter(parts[...], for: name)
        // One that was there already is remembered, too.
        if entries == before { try count(name) }
        directories.append(
            Directory(
                name: Array(parts.joined(separator: [UInt8(ascii: "/")])), mode: mode & 0o1777 | 0o700,
                modified: modified))
    }

    /// Begins a file. `write`, `writeHole` and `endFile` follow.
    ///
    /// - Parameters:
    ///   - mode: permission and sticky bits.
    ///   - modified: its time; nil: whatever the system gives it.
    public mutating func beginFile(
        _ name: [UInt8], mode: UInt32, modified: TarTime? = nil
    ) throws(ArchiveError) {
        guard file == nil else { throw .invalid("a file was begun before the last one ended", entry: name) }
        let parts = try nonEmptyParts(of: name)
        try count(name)
        let directory = try enter(parts.dropLast(), for: name)
        let descriptor = try create(parts, in: directory, name) {
            openat(directory, $0, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        }
        file = File(descriptor: descriptor, name: name, mode: mode & 0o1777, modified: modified)
    }

    /// Appends bytes to the file that was begun.
    public mutating func write(_ bytes: UnsafeRawBufferPointer) throws(ArchiveError) {
        guard let file else { throw .invalid("no file was begun") }
        try grow(Int64(bytes.count))
        var done = 0
        while done < bytes.count {
            let count = Glibc.write(file.descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                throw .system(count < 0 ? errno : ENOSPC, "the file can't be written", entry: file.name)
            }
            done += count
        }
    }

    /// Appends zeros, which the file system need not store, to the file that was begun.
    public mutating func writeHole(_ length: Int64) throws(ArchiveError) {
        guard let file else { throw .invalid("no file was begun") }
        guard length >= 0 else { throw .invalid("a hole of less than nothing", entry: file.name) }
        try grow(length)
        guard lseek(file.descriptor, off_t(length), SEEK_CUR) >= 0 else {
            throw .system(errno, "the file can't be written", entry: file.name)
        }
        self.file?.endsWithHole = true
    }

    /// Ends the file that was begun: sets its mode and time.
    public mutating func endFile() throws(ArchiveError) {
        guard let file else { throw .invalid("no file was begun") }
        self.file = nil
        let code = Self.finish(file)
        let closed = close(file.descriptor) == 0 ? 0 : errno
        guard code == 0, closed == 0 else {
            throw .system(code == 0 ? closed : code, "the file can't be finished", entry: file.name)
        }
    }

    /// Creates a symbolic link whose target stays below the directory, unless it may lead out; what it names need not
    /// exist.
    public mutating func makeSymbolicLink(
        _ name: [UInt8], target: [UInt8], modified: TarTime? = nil
    ) throws(ArchiveError) {
        let parts = try nonEmptyParts(of: name)
        let isDoubtful = try check(target, of: name, depth: parts.count - 1)
        try count(name)
        let directory = try enter(parts.dropLast(), for: name)
        _ = try create(parts, in: directory, name) { link in
            target.withCString { symlinkat($0, directory, link) }
        }
        if isDoubtful { doubtfulLinks.append(Array(parts.joined(separator: [UInt8(ascii: "/")]))) }
        guard let modified, let last = parts.last else { return }
        let times = Self.times(modified)
        // A file system that has no times for links loses nothing that anybody could look at.
        _ = last.withCString { utimensat(directory, $0, times, AT_SYMLINK_NOFOLLOW) }
    }

    /// Creates another name of a regular file that was created before.
    public mutating func makeHardLink(_ name: [UInt8], target: [UInt8]) throws(ArchiveError) {
        let parts = try nonEmptyParts(of: name)
        let targetParts = try nonEmptyParts(of: target)
        guard parts != targetParts, let last = targetParts.last else {
            throw .invalid("a hard link to itself", entry: name)
        }
        try count(name)
        let found = try enter(targetParts.dropLast(), for: name, makes: false)
        let source = fcntl(found, F_DUPFD_CLOEXEC, 0)
        guard source >= 0 else { throw .system(errno, "the link can't be made", entry: name) }
        defer { close(source) }
        var status = stat()
        guard last.withCString({ fstatat(source, $0, &status, AT_SYMLINK_NOFOLLOW) }) == 0,
            status.st_mode & S_IFMT == S_IFREG
        else { throw .invalid("a hard link to what is not a file of this archive", entry: name) }
        let directory = try enter(parts.dropLast(), for: name)
        _ = try create(parts, in: directory, name) { link in
            last.withCString { linkat(source, $0, directory, link, 0) }
        }
    }

    /// Ends the work: judges the links that could not be judged before, and sets the directories' modes and times.
    ///
    /// - Throws: `ArchiveError` if a link leads out of the directory, a file is not finished, or the system refuses.
    public mutating func finish() throws(ArchiveError) {
        if let file { throw .invalid("the file is not finished", entry: file.name) }
        for link in doubtfulLinks {
            switch link.withCString({ clinux_leads_beneath(root, $0) }) {
            case 0, ENOENT, ENOTDIR, ELOOP: continue
            default: throw .invalid("a symbolic link out of the directory", entry: link)
            }
        }
        doubtfulLinks = []
        for directory in directories {
            let parts = try parts(of: directory.name)
            let descriptor = try enter(parts[...], for: directory.name, makes: false)
            guard fchmod(descriptor, directory.mode) == 0,
                directory.modified.map({ futimens(descriptor, Self.times($0)) == 0 }) ?? true
            else { throw .system(errno, "the directory can't be finished", entry: directory.name) }
        }
        directories = []
    }

    // MARK: - Names

    /// Cuts a name into its parts.
    private func parts(of name: [UInt8]) throws(ArchiveError) -> [[UInt8]] {
        guard !name.isEmpty else { throw .invalid("an entry without a name") }
        guard name.count <= limits.nameLength else { throw .tooLarge("the name is too long", entry: name) }
        guard name.first != UInt8(ascii: "/") else { throw .invalid("the name is absolute", entry: name) }
        guard !name.contains(0) else { throw .invalid("the name contains NUL", entry: name) }
        let parts = name.split(separator: UInt8(ascii: "/")).map { Array($0) }.filter { $0 != Self.here }
        guard !parts.contains(Self.up) else { throw .invalid("the name contains '..'", entry: name) }
        guard parts.count <= limits.depth, parts.allSatisfy({ $0.count <= Self.partLength }) else {
            throw .tooLarge("the name has too many parts, or one that is too long", entry: name)
        }
        return parts
    }

    private func nonEmptyParts(of name: [UInt8]) throws(ArchiveError) -> [[UInt8]] {
        let parts = try parts(of: name)
        // A trailing slash says that this is a directory.
        guard !parts.isEmpty, name.last != UInt8(ascii: "/") else {
            throw .invalid("a file or link with the name of a directory", entry: name)
        }
        return parts
    }

    private static let here = [UInt8(ascii: ".")]
    private static let up = [UInt8(ascii: "."), UInt8(ascii: ".")]

    /// Checks the target of a symbolic link that lies in a directory `depth` levels below the root.
    ///
    /// Leading `..` go up real directories, so that they can be counted. One that comes later may go up from wherever
    /// another link leads, which only the finished tree shows.
    /// - Returns: whether the target must be looked at again in the finished tree.
    private func check(_ target: [UInt8], of name: [UInt8], depth: Int) throws(ArchiveError) -> Bool {
        guard !target.isEmpty, !target.contains(0) else {
            throw .invalid("a symbolic link without a target", entry: name)
        }
        guard target.count <= limits.nameLength else { throw .tooLarge("the link's target is too long", entry: name) }
        if allowsOutwardLinks { return false }
        guard target.first != UInt8(ascii: "/") else {
            throw .invalid("a symbolic link to an absolute path", entry: name)
        }
        var level = depth
        var wentDown = false
        var isDoubtful = false
        for part in target.split(separator: UInt8(ascii: "/")) where !part.elementsEqual(Self.here) {
            if part.elementsEqual(Self.up) {
                level -= 1
                isDoubtful = isDoubtful || wentDown
            } else {
                level += 1
                wentDown = true
            }
            guard level >= 0 else { throw .invalid("a symbolic link out of the directory", entry: name) }
        }
        return isDoubtful
    }

    // MARK: - The tree

    /// Goes to a directory below the root without following links; `parent` is then this directory.
    ///
    /// - Parameter makes: whether missing directories are created.
    private mutating func enter(
        _ parts: ArraySlice<[UInt8]>, for name: [UInt8], makes: Bool = true
    ) throws(ArchiveError) -> Int32 {
        if parts.elementsEqual(parentParts) { return parent }
        let isBelow = parts.starts(with: parentParts)
        var current = isBelow ? parent : root
        for part in isBelow ? parts.dropFirst(parentParts.count) : parts {
            let next: Int32
            do {
                next = try open(part, in: current, for: name, makes: makes)
            } catch {
                if current != root, current != parent { close(current) }
                throw error
            }
            if current != root, current != parent { close(current) }
            current = next
        }
        if parent != root, parent != current { close(parent) }
        parent = current
        parentParts = Array(parts)
        return current
    }

    private mutating func open(
        _ part: [UInt8], in directory: Int32, for name: [UInt8], makes: Bool
    ) throws(ArchiveError) -> Int32 {
        let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
        var found = part.withCString { openat(directory, $0, flags) }
        if found < 0, errno == ENOENT, makes {
            try count(name)
            guard part.withCString({ mkdirat(directory, $0, 0o700) }) == 0 else {
                throw .system(errno, "a directory can't be made", entry: name)
            }
            found = part.withCString { openat(directory, $0, flags) }
            if found >= 0, fchmod(found, 0o755) != 0 {
                let code = errno
                close(found)
                throw .system(code, "a directory can't be made", entry: name)
            }
        }
        guard found < 0 else { return found }
        switch errno {
        case ELOOP, ENOTDIR: throw .invalid("it lies below something that is not a directory", entry: name)
        case ENOENT: throw .invalid("it names something that is not in the archive", entry: name)
        default: throw .system(errno, "a directory can't be opened", entry: name)
        }
    }

    /// Creates the last of the parts by `make`, which gets its name and answers like a system call.
    private func create(
        _ parts: [[UInt8]], in directory: Int32, _ name: [UInt8], _ make: (UnsafePointer<CChar>) -> Int32
    ) throws(ArchiveError) -> Int32 {
        guard let last = parts.last else { throw .invalid("an entry without a name", entry: name) }
        var result = last.withCString(make)
        if result < 0, errno == EEXIST, replaces, last.withCString({ unlinkat(directory, $0, 0) }) == 0 {
            result = last.withCString(make)
        }
        guard result < 0 else { return result }
        switch errno {
        case EEXIST, EISDIR: throw .invalid("another entry has this name", entry: name)
        default: throw .system(errno, "it can't be created", entry: name)
        }
    }

    private mutating func count(_ name: [UInt8]) throws(ArchiveError) {
        entries += 1
        guard entries <= limits.entries else { throw .tooLarge("there are too many entries", entry: name) }
    }

    private mutating func grow(_ length: Int64) throws(ArchiveError) {
        let (sum, overflow) = bytes.addingReportingOverflow(length)
        guard !overflow, sum <= limits.bytes else {
            throw .tooLarge("the files are larger than \(limits.bytes) bytes", entry: file?.name)
        }
        bytes = sum
        file?.size += length
        file?.endsWithHole = false
    }

    /// - Returns: 0 or an errno.
    private static func finish(_ file: File) -> Int32 {
        if file.endsWithHole, ftruncate(file.descriptor, off_t(file.size)) != 0 { return errno }
        if fchmod(file.descriptor, file.mode) != 0 { return errno }
        if let modified = file.modified, futimens(file.descriptor, times(modified)) != 0 { return errno }
        return 0
    }

    /// Last access and last modification, as futimens(2) wants them.
    private static func times(_ time: TarTime) -> [timespec] {
        let time = timespec(tv_sec: Int(time.seconds), tv_nsec: Int(time.nanoseconds))
        return [time, time]
    }
}

extension [UInt8] {
    /// Calls `body` with these bytes as a C string; they must not contain NUL.
    func withCString<Result>(_ body: (UnsafePointer<CChar>) -> Result) -> Result {
        let bytes = map { CChar(bitPattern: $0) } + [0]
        return bytes.withUnsafeBufferPointer { buffer in
            var nul: CChar = 0
            guard let address = buffer.baseAddress else { return body(&nul) }
            return body(address)
        }
    }
}
