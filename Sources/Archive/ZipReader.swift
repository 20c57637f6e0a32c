import CArchive
import CLinux
import Glibc

/// Reads a zip file by its central directory: entries one after another, their content in blocks.
///
/// libarchive does the reading. Refused are encrypted entries, methods other than stored and deflate, contents whose
/// length or CRC-32 is not what the zip says, entries that share one content, and entries that are neither files,
/// directories nor symbolic links. Archive.docc has the rules for names, modes and times. Memory grows with the central
/// directory alone: up to six bytes for each of its bytes, for which the reservation is asked.
public struct ZipReader: ~Copyable {
    /// Bounds; going over one throws `ArchiveError.Fault.tooLarge`.
    public struct Limits: Hashable, Sendable {
        public var entries = 1_000_000
        /// Bytes of all contents together.
        public var bytes: Int64 = 32 << 30
        /// How many bytes of content one byte of the zip may become, beyond `ratioAllowance`.
        public var ratio: Int64 = 200
        /// How many bytes of content any zip may have, before `ratio` counts.
        public var ratioAllowance: Int64 = 256 << 20
        /// Bytes of the central directory, with what stands behind it.
        public var directoryLength: Int64 = 256 << 20
        /// Bytes of a name.
        public var nameLength = 4095

        public init() {}
    }

    private let file: ZipFile
    private let limits: Limits
    private var archive: OpaquePointer { file.archive }
    private let directory: ZipDirectory
    /// How many entries were handed over.
    private var index = 0
    /// What libarchive said to the header that comes next, where it has read that already.
    private var ahead: Header?
    private var current: ZipEntry?
    /// Bytes of content read so far: of all entries, and of this one.
    private var total: Int64 = 0
    private var read: Int64 = 0

    /// How libarchive answered, and its entry.
    struct Header {
        let result: Int32
        let entry: OpaquePointer?
    }

    /// Opens a zip file.
    ///
    /// - Throws: `ArchiveError`; `.invalid` if the file is no zip, or has lost its end.
    public init(
        path: String, limits: Limits = Limits(), reserve: @escaping Reservation = { _ in true }
    ) throws(ArchiveError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
        guard descriptor >= 0 else { throw .system(errno, "the zip can't be opened") }
        let file = try ZipFile(descriptor: descriptor, reserve: reserve)
        let begun = try Self.begin(file, limits)
        self.file = file
        self.limits = limits
        directory = begun.directory
        ahead = begun.first
    }

    /// - Parameter descriptor: a regular file that is open for reading. It is duplicated and stays the caller's; its
    ///   offset does not matter and does not change.
    public init(
        descriptor: Int32, limits: Limits = Limits(), reserve: @escaping Reservation = { _ in true }
    ) throws(ArchiveError) {
        let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0 else { throw .system(errno, "the zip can't be read") }
        let file = try ZipFile(descriptor: copy, reserve: reserve)
        let begun = try Self.begin(file, limits)
        self.file = file
        self.limits = limits
        directory = begun.directory
        ahead = begun.first
    }

    /// Lets libarchive read the whole central directory, which it does before it hands over the first entry.
    private static func begin(
        _ file: ZipFile, _ limits: Limits
    ) throws(ArchiveError) -> (directory: ZipDirectory, first: Header) {
        guard file.begin() == carchive_ok() else { throw file.failure ?? .invalid("the zip can't be read") }
        file.beginDirectory(limit: limits.directoryLength)
        let first = next(file.archive)
        file.endDirectory()
        if let failure = file.failure { throw failure }
        guard first.result >= carchive_warn() else {
            throw .invalid("this is no zip, or its end is missing (\(message(file.archive)))")
        }
        return (try ZipDirectory(file, limits: limits), first)
    }

    /// Whether a file is a zip that could be read: its central directory is there and within the limits. Nothing of
    /// the contents is looked at.
    ///
    /// - Throws: `ArchiveError`, but not `.invalid`.
    public static func isZip(
        descriptor: Int32, limits: Limits = Limits(), reserve: @escaping Reservation = { _ in true }
    ) throws(ArchiveError) -> Bool {
        do {
            _ = try ZipReader(descriptor: descriptor, limits: limits, reserve: reserve)
            return true
        } catch  where error.fault == .invalid {
            return false
        }
    }

    /// How many entries there are.
    public var count: Int { directory.records.count }

    /// Goes on to the next entry, in the order in which their contents lie in the file.
    ///
    /// - Returns: nil after the last one.
    /// - Throws: `ArchiveError` that names the entry, where it has a name.
    public mutating func next() throws(ArchiveError) -> ZipEntry? {
        let header = ahead ?? Self.next(archive)
        ahead = nil
        current = nil
        if let failure = file.failure { throw failure }
        let record = index < directory.records.count ? directory.records[index] : nil
        if header.result == carchive_eof(), record == nil { return nil }
        index += 1
        guard header.result != carchive_eof(), let record, let found = header.entry else {
            throw .invalid("the zip's directory does not have the entries that it says")
        }
        guard header.result >= carchive_warn() else { throw .invalid(Self.message(archive), entry: record.name) }
        let entry = try Self.entry(found, record, limits: limits)
        if entry.kind == .file { try checkMethod(of: entry) }
        try checkGrowth(to: total + entry.size, of: entry)
        current = entry
        read = 0
        return entry
    }

    /// Hands over the next block of the entry's content.
    ///
    /// - Parameter body: gets the bytes, which are gone after it returns.
    /// - Returns: what `body` returned; nil at the content's end.
    /// - Throws: `ArchiveError` if the content is not what the zip says of it, goes over a limit, or `body` throws.
    public mutating func withContent<Result>(
        _ body: (UnsafeRawBufferPointer) throws(ArchiveError) -> Result
    ) throws(ArchiveError) -> Result? {
        guard let entry = current, entry.kind == .file else { return nil }
        var address: UnsafeRawPointer?
        var count = 0
        var offset: Int64 = 0
        var result: Int32
        // libarchive hands over empty blocks, too.
        repeat {
            result = archive_read_data_block(archive, &address, &count, &offset)
        } while result == carchive_ok() && count == 0
        if let failure = file.failure { throw failure }
        guard result == carchive_ok() || result == carchive_eof() else {
            throw .invalid(Self.message(archive), entry: entry.name)
        }
        if result == carchive_eof() {
            guard read == entry.size else {
                throw .invalid("it has \(read) bytes where the zip says \(entry.size)", entry: entry.name)
            }
            return nil
        }
        read += Int64(count)
        total += Int64(count)
        guard read <= entry.size else { throw .invalid("it has more bytes than the zip says", entry: entry.name) }
        try checkGrowth(to: total, of: entry)
        return try body(UnsafeRawBufferPointer(start: address, count: count))
    }

    /// Creates all entries that were not handed over yet below a directory. The caller finishes the writer.
    ///
    /// - Parameter isCancelled: asked before each entry and block.
    /// - Throws: `ArchiveError`, `.cancelled` included; what was created before stays.
    public mutating func extract(
        into writer: inout DirectoryWriter, isCancelled: () -> Bool = { Task.isCancelled }
    ) throws(ArchiveError) {
        while let entry = try next() {
            guard !isCancelled() else { throw .cancelled }
            switch entry.kind {
            case .directory: try writer.makeDirectory(entry.name, mode: entry.mode, modified: entry.modified)
            case .symbolicLink:
                try writer.makeSymbolicLink(entry.name, target: entry.linkName, modified: entry.modified)
            case .file:
                try writer.beginFile(entry.name, mode: entry.mode, modified: entry.modified)
                while try withContent({ bytes throws(ArchiveError) in try writer.write(bytes) }) != nil {
                    guard !isCancelled() else { throw .cancelled }
                }
                try writer.endFile()
            }
        }
    }

    // MARK: - Checks

    private static func next(_ archive: OpaquePointer) -> Header {
        var entry: OpaquePointer?
        guard let locale = ZipLocale.plain else { return Header(result: carchive_fatal(), entry: nil) }
        let result = carchive_next_header(archive, &entry, locale)
        return Header(result: result, entry: entry)
    }

    private static func message(_ archive: OpaquePointer) -> String {
        archive_error_string(archive).map { String(cString: $0) } ?? "the zip is broken"
    }

    private static func entry(
        _ found: OpaquePointer, _ record: ZipDirectory.Record, limits: Limits
    ) throws(ArchiveError) -> ZipEntry {
        var name = record.name
        guard name.count <= limits.nameLength else { throw .tooLarge("the name is too long", entry: name) }
        guard !name.isEmpty, !name.contains(0) else {
            throw .invalid("a name that is empty or contains NUL", entry: name)
        }
        guard !record.isEncrypted, archive_entry_is_encrypted(found) == 0 else {
            throw .invalid("it is encrypted", entry: name)
        }
        let kind: ZipEntry.Kind
        switch archive_entry_filetype(found) {
        case carchive_file(): kind = .file
        case carchive_directory(): kind = .directory
        case carchive_symlink(): kind = .symbolicLink
        default: throw .invalid("it is neither a file, a directory nor a symbolic link", entry: name)
        }
        if kind == .directory, name.last != UInt8(ascii: "/") { name.append(UInt8(ascii: "/")) }
        let own = bytes(archive_entry_pathname(found))
        if !record.hasUnicodeName, disagree(own, name) {
            throw .invalid("the zip's directory and the entry itself have different names", entry: name)
        }
        let mode = record.unixMode == 0 ? 0o755 : record.unixMode & 0o1777
        let target = kind == .symbolicLink ? bytes(archive_entry_symlink(found)) : []
        return ZipEntry(
            kind: kind, name: name, linkName: target, mode: mode,
            modified: TarTime(
                seconds: Int64(archive_entry_mtime(found)), nanoseconds: Int32(archive_entry_mtime_nsec(found))),
            size: kind == .file ? archive_entry_size(found) : 0)
    }

    private static func bytes(_ text: UnsafePointer<CChar>?) -> [UInt8] {
        text.map { Array(UnsafeRawBufferPointer(start: $0, count: strlen($0))) } ?? []
    }

    /// Whether two names of one entry differ. What is not ASCII has been re-encoded by libarchive where it is marked as
    /// UTF-8, and it takes more backslashes for separators than `ZipDirectory` does.
    private static func disagree(_ own: [UInt8], _ name: [UInt8]) -> Bool {
        guard own.allSatisfy({ $0 < 0x80 }), name.allSatisfy({ $0 < 0x80 }) else { return false }
        let backslash = UInt8(ascii: "\\")
        let slash = UInt8(ascii: "/")
        return !own.map { $0 == backslash ? slash : $0 }.elementsEqual(name.map { $0 == backslash ? slash : $0 })
    }

    /// Other methods than these take up to gigabytes of memory to decode, and no zip that matters here uses them.
    private func checkMethod(of entry: ZipEntry) throws(ArchiveError) {
        let format = archive_format_name(archive).map { String(cString: $0) } ?? ""
        guard format.hasSuffix("(uncompressed)") || format.hasSuffix("(deflation)") else {
            throw .invalid("it is neither stored nor deflated", entry: entry.name)
        }
    }

    private func checkGrowth(to bytes: Int64, of entry: ZipEntry) throws(ArchiveError) {
        guard entry.size >= 0, bytes >= 0, bytes <= limits.bytes else {
            throw .tooLarge("the contents have more than \(limits.bytes) bytes", entry: entry.name)
        }
        let (allowed, overflow) = file.size.multipliedReportingOverflow(by: limits.ratio)
        guard overflow || bytes - limits.ratioAllowance <= allowed else {
            throw .tooLarge("the contents grow to more than \(limits.ratio) times the zip", entry: entry.name)
        }
    }
}

/// A member of a zip file.
public struct ZipEntry: Hashable, Sendable {
    public enum Kind: Hashable, Sendable {
        case file
        case directory
        case symbolicLink
    }

    public var kind: Kind
    /// The name as stored: bytes, in no particular encoding. A directory's ends with a slash.
    public var name: [UInt8]
    /// A symbolic link's target; empty for other kinds.
    public var linkName: [UInt8]
    /// Permission and sticky bits (01777). Where a zip has no Unix mode for an entry, the reader says 0755.
    public var mode: UInt32
    /// Zip keeps whole seconds.
    public var modified: TarTime
    /// A file's length in bytes; 0 for other kinds.
    public var size: Int64

    public init(
        kind: Kind, name: [UInt8], linkName: [UInt8] = [], mode: UInt32, modified: TarTime, size: Int64 = 0
    ) {
        self.kind = kind
        self.name = name
        self.linkName = linkName
        self.mode = mode
        self.modified = modified
        self.size = size
    }
}
