import CArchive
import CLinux
import Glibc

/// The locales in which libarchive is called, made once: it takes the names of a zip for text.
enum ZipLocale {
    /// nil if there is no memory. (A locale that nobody changes may be used by several threads.)
    nonisolated(unsafe) static let plain: locale_t? = carchive_locale("C")
    /// Where the machine has no locale of UTF-8, names are written as they are, without the mark that they are text.
    nonisolated(unsafe) static let unicode: locale_t? = carchive_locale("C.UTF-8") ?? plain
}

/// An open file, and libarchive reading it: by position, so that the descriptor's own offset stays where it is.
final class ZipFile {
    static let blockSize = 128 << 10

    let size: Int64
    let archive: OpaquePointer
    private let descriptor: Int32
    private let reserve: Reservation
    private let block: UnsafeMutableRawBufferPointer
    private var position: Int64 = 0

    /// Where libarchive jumped to last, and before that.
    private var jumps: (last: Int64, before: Int64) = (0, 0)

    /// Where libarchive began to look for the central directory, right after it has handed over the first entry, to which
    /// it has jumped back.
    fileprivate var directoryStart: Int64 { max(jumps.last, jumps.before) }
    /// How many bytes may be read while libarchive reads the central directory, which it holds in memory; else nil.
    private var directoryLimit: Int64?
    private var directoryBytes: Int64 = 0
    private var reserved: Int64 = 0
    /// Why reading stopped, where libarchive only knows that it did.
    private(set) var failure: ArchiveError?

    /// How many bytes libarchive and `ZipDirectory` hold at most for a byte of the central directory.
    private static let directoryFactor: Int64 = 6

    /// - Parameter descriptor: a regular file. It becomes this object's, which closes it also if this fails.
    init(descriptor: Int32, reserve: @escaping Reservation) throws(ArchiveError) {
        var status = stat()
        let code = fstat(descriptor, &status) == 0 ? 0 : errno
        let archive = archive_read_new()
        guard code == 0, status.st_mode & S_IFMT == S_IFREG, let archive else {
            if let archive { archive_read_free(archive) }
            close(descriptor)
            if code != 0 { throw .system(code, "the zip can't be read") }
            throw archive == nil ? .noMemory : .invalid("a zip must be a regular file")
        }
        size = Int64(status.st_size)
        self.archive = archive
        self.descriptor = descriptor
        self.reserve = reserve
        block = .allocate(byteCount: Self.blockSize, alignment: 64)
    }

    deinit {
        archive_read_free(archive)
        close(descriptor)
        block.deallocate()
    }

    /// Bounds how much is read from now on until `endDirectory`, and asks for the memory that it takes.
    func beginDirectory(limit: Int64) { directoryLimit = limit }

    func endDirectory() { directoryLimit = nil }

    private func countDirectory(_ count: Int, limit: Int64) throws(ArchiveError) {
        directoryBytes += Int64(count)
        guard directoryBytes <= limit else { throw .tooLarge("the zip's directory is too long") }
        let needed = directoryBytes * Self.directoryFactor
        guard needed > reserved, needed > Int64(TarReader.ordinary) else { return }
        let wanted = max(needed, 2 * reserved)
        guard reserve(Int(wanted)) else { throw .noMemory }
        reserved = wanted
    }

    /// - Returns: how many bytes were read; 0 at the file's end; -1 with `failure`.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) -> Int {
        while true {
            let count = pread(descriptor, buffer.baseAddress, buffer.count, off_t(offset))
            if count < 0, errno == EINTR { continue }
            if count < 0 { failure = .system(errno, "the zip can't be read") }
            return count
        }
    }

    private func readBlock(_ target: UnsafeMutablePointer<UnsafeRawPointer?>?) -> Int {
        let count = read(into: block, at: position)
        target?.pointee = UnsafeRawPointer(block.baseAddress)
        guard count > 0 else { return count }
        position += Int64(count)
        guard let limit = directoryLimit else { return count }
        do {
            try countDirectory(count, limit: limit)
            return count
        } catch {
            failure = error
            return -1
        }
    }

    private func seek(_ offset: Int64, _ whence: Int32) -> Int64 {
        let base: Int64 =
            switch whence {
            case SEEK_SET: 0
            case SEEK_CUR: position
            default: size
            }
        let (target, overflow) = base.addingReportingOverflow(offset)
        guard !overflow, target >= 0 else { return Int64(carchive_fatal()) }
        position = target
        // The end is where libarchive asks for the file's size.
        if target < size { jumps = (target, jumps.last) }
        return target
    }

    private func skip(_ count: Int64) -> Int64 {
        let count = max(0, min(count, size - position))
        position += count
        return count
    }

    /// Lets libarchive begin to read, zip alone.
    ///
    /// - Returns: what libarchive answers.
    func begin() -> Int32 {
        let supported = archive_read_support_format_zip_seekable(archive)
        guard supported == carchive_ok() else { return supported }
        archive_read_set_read_callback(archive) { _, file, target in
            guard let file else { return -1 }
            return Unmanaged<ZipFile>.fromOpaque(file).takeUnretainedValue().readBlock(target)
        }
        archive_read_set_seek_callback(archive) { _, file, offset, whence in
            guard let file else { return -1 }
            return Unmanaged<ZipFile>.fromOpaque(file).takeUnretainedValue().seek(offset, whence)
        }
        archive_read_set_skip_callback(archive) { _, file, count in
            guard let file else { return 0 }
            return Unmanaged<ZipFile>.fromOpaque(file).takeUnretainedValue().skip(count)
        }
        archive_read_set_callback_data(archive, Unmanaged.passUnretained(self).toOpaque())
        return archive_read_open1(archive)
    }
}

/// What libarchive does not hand over of a zip's central directory: whether an entry has a Unix mode, and its name as
/// it stands there. (libarchive makes up a mode of 0664, and re-encodes names that are marked as UTF-8.)
struct ZipDirectory {
    struct Record {
        /// Where the entry's local header is, by the directory's own reckoning.
        let offset: UInt64
        let name: [UInt8]
        /// File type and permissions; 0 if the zip has none.
        let unixMode: UInt32
        let isEncrypted: Bool
        /// Whether the name may have another spelling in the entry's local header.
        let hasUnicodeName: Bool
    }

    /// In the order in which libarchive hands entries over: by offset.
    let records: [Record]

    /// Reads the records from where libarchive found them.
    ///
    /// - Throws: `ArchiveError` if two entries share one offset, or there are more than `limits.entries`.
    init(_ file: ZipFile, limits: ZipReader.Limits) throws(ArchiveError) {
        var window = Window(file: file, position: file.directoryStart)
        var records: [Record] = []
        // As libarchive does: bytes that were put before the zip have moved the directory behind its stated place.
        while try window.fill(4), !Self.isSignature(window, Self.record), !Self.isSignature(window, Self.end),
            !Self.isSignature(window, Self.end64)
        {
            window.skip(1)
            window.skip(to: Self.record[0])
        }
        while try window.fill(46), Self.isSignature(window, Self.record) {
            let (name, extra) = (window.number(28, 2), window.number(30, 2))
            let comment = window.number(32, 2)
            guard try window.fill(46 + Int(name + extra)) else { throw .invalid("the zip's directory is truncated") }
            records.append(Self.record(window, name: Int(name), extra: Int(extra)))
            guard records.count <= limits.entries else { throw .tooLarge("there are too many entries") }
            window.skip(46 + Int(name + extra + comment))
        }
        records.sort { $0.offset < $1.offset }
        for (one, two) in zip(records, records.dropFirst()) where one.offset == two.offset {
            throw .invalid("two entries share one content", entry: two.name)
        }
        self.records = records
    }

    private static let record: [UInt8] = [0x50, 0x4b, 1, 2]
    private static let end: [UInt8] = [0x50, 0x4b, 5, 6]
    private static let end64: [UInt8] = [0x50, 0x4b, 6, 6]

    private static func isSignature(_ window: borrowing Window, _ signature: [UInt8]) -> Bool {
        window.bytes(0, 4).elementsEqual(signature)
    }

    /// The record at the window's start (APPNOTE 6.3.10, section 4.3.12).
    private static func record(_ window: borrowing Window, name: Int, extra: Int) -> Record {
        var bytes = window.bytes(46, name)
        var offset = window.number(42, 4)
        var hasUnicodeName = false
        var position = 46 + name
        let end = position + extra
        while position + 4 <= end {
            let (kind, length) = (window.number(position, 2), Int(window.number(position + 2, 2)))
            position += 4
            guard position + length <= end else { break }
            if kind == 1, offset == 0xffff_ffff {
                // Zip64 (4.5.3): the fields that are all ones in the record, in this order.
                let before = [20, 24].count { window.number($0, 4) == 0xffff_ffff } * 8
                if length >= before + 8 { offset = window.number(position + before, 8) }
            } else if kind == 0x7075, length > 5 {
                // Info-ZIP's Unicode path (4.6.9): version, CRC-32 of the name, the name in UTF-8.
                bytes = window.bytes(position + 5, length - 5)
                hasUnicodeName = true
            }
            position += length
        }
        let system = window.number(5, 1)
        let isUnix = system == 3 || system == 19
        // Windows programs have been known to separate directories by backslashes.
        if !isUnix, !bytes.contains(UInt8(ascii: "/")) {
            for index in bytes.indices where bytes[index] == UInt8(ascii: "\\") { bytes[index] = UInt8(ascii: "/") }
        }
        return Record(
            offset: offset, name: bytes, unixMode: isUnix ? UInt32(window.number(38, 4)) >> 16 : 0,
            isEncrypted: window.number(8, 2) & 1 != 0, hasUnicodeName: hasUnicodeName)
    }

    /// A part of the file that moves forwards.
    struct Window: ~Copyable {
        private let file: ZipFile
        private let buffer: UnsafeMutableRawBufferPointer
        private var start = 0
        private var count = 0
        /// Where in the file the next bytes come from.
        private var position: Int64

        init(file: ZipFile, position: Int64) {
            self.file = file
            self.position = position
            // A record, its name and its extra fields fit.
            buffer = .allocate(byteCount: 512 << 10, alignment: 64)
        }

        deinit { buffer.deallocate() }

        /// Makes sure that `wanted` bytes are there.
        ///
        /// - Returns: false if the file ends before.
        mutating func fill(_ wanted: Int) throws(ArchiveError) -> Bool {
            guard count < wanted else { return true }
            buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[start..<(start + count)]))
            start = 0
            while count < wanted {
                let read = file.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[count...]), at: position)
                if read < 0, let failure = file.failure { throw failure }
                guard read > 0 else { return false }
                count += read
                position += Int64(read)
            }
            return true
        }

        mutating func skip(_ length: Int) {
            let inside = min(length, count)
            start += inside
            count -= inside
            position += Int64(length - inside)
        }

        /// Goes on to the next such byte that is there already, or behind what is there.
        mutating func skip(to byte: UInt8) {
            guard count > 0, let first = buffer.baseAddress else { return }
            let found = memchr(first + start, Int32(byte), count)
            skip(found.map { UnsafeRawPointer($0) - UnsafeRawPointer(first + start) } ?? count)
        }

        func bytes(_ offset: Int, _ length: Int) -> [UInt8] {
            Array(buffer[(start + offset)..<(start + offset + length)])
        }

        /// A little-endian number of up to 8 bytes.
        func number(_ offset: Int, _ length: Int) -> UInt64 {
            var value: UInt64 = 0
            for index in (0..<length).reversed() { value = value << 8 | UInt64(buffer[start + offset + index]) }
            return value
        }
    }
}
