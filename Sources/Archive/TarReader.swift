/// Reads a tar archive from bytes that are handed to it: v7, ustar, star, GNU and PAX, sparse files included.
///
/// It is stricter than most readers: where two of them could disagree about where an entry begins, what it is called or
/// how long it is, the archive is refused. It does no I/O and holds no content. Its memory is bounded by `Limits`, and
/// it asks its reservation before it holds more than `ordinary` bytes.
public struct TarReader {
    public struct Limits: Sendable, Hashable {
        /// Bytes of a name or a link's target.
        public var nameLength = 4096
        /// Bytes of one PAX extended header.
        public var headerLength = 1 << 20
        /// Stored parts of one sparse file.
        public var sparseParts = 1 << 17
        /// Zero bytes after the archive's end.
        public var tailLength: Int64 = 16 << 20
        /// How the archive may have been compressed; only the words of an error depend on it.
        public var compressions = Compressions.common

        public init() {}
    }

    public enum Event: Hashable, Sendable {
        /// All bytes given were taken, or what is left is too short to be a header: give more.
        case needsInput
        case entry(TarEntry)
        /// So many bytes, right after those consumed, are content of the last entry. The caller moves past them itself.
        case content(Int)
        /// So many zeros, which the archive does not store, are content of the last entry.
        case hole(Int64)
    }

    private enum State {
        case header
        /// Collecting the content of a PAX header or of a GNU long name.
        case prelude(type: UInt8, remaining: Int64)
        /// Reading the map blocks that follow a header of GNU's old sparse format.
        case sparseBlocks
        /// Reading the map at the start of a sparse file of version 1.0.
        case sparseMap
        case content(stored: Int64)
        /// Skipping the list of names that GNU's incremental archives have in their directories.
        case names(remaining: Int64)
        case tail(length: Int64)

        var isHeader: Bool { if case .header = self { true } else { false } }
    }

    /// How many bytes a reader may hold without asking its reservation.
    public static let ordinary = 64 << 10
    /// How many bytes of memory are reserved per byte of a PAX header: for records with their keys, or for the numbers
    /// of a sparse map, in arrays that grow by doubling.
    private static let recordFactor = 8
    /// How many bytes of memory are reserved per stored part of a sparse file.
    private static let partBytes = 64

    private let limits: Limits
    private let reserve: Reservation
    /// How many bytes the reservation has granted; 0 while the reader holds at most `ordinary` bytes.
    private var reserved = 0
    private var state = State.header
    /// The archive's first bytes, until its first header was read.
    private var start: [UInt8]? = []
    /// Whether bytes were left that are too short to be a header.
    private var hasRest = false
    /// Padding after the last content that has not been skipped yet, in bytes.
    private var padding = 0
    /// Padding that will follow the content that is being read, in bytes.
    private var contentPadding = 0
    private var body: [UInt8] = []
    private var next = NextEntry()
    private var global = PaxRecords()
    private var sparse: SparseCursor?

    public init(limits: Limits = Limits(), reserve: @escaping Reservation = { _ in true }) {
        self.limits = limits
        self.reserve = reserve
    }

    /// Goes on to the next event.
    ///
    /// - Parameters:
    ///   - bytes: the archive's next bytes. Headers want 512 at once; content may be cut anywhere.
    ///   - consumed: receives how many of them were taken. The content that a `content` event announces is not
    ///     included: the reader regards it as read, and the next call begins after it.
    /// - Throws: `ArchiveError` that names the entry, where it has a name yet.
    public mutating func next(_ bytes: Span<UInt8>, consumed: inout Int) throws(ArchiveError) -> Event {
        consumed = 0
        do {
            return try advance(bytes, &consumed)
        } catch {
            throw next.naming(error)
        }
    }

    /// Says that the input has ended.
    ///
    /// - Throws: `ArchiveError` if the archive ends within an entry or a header. The zero blocks at its end may be
    ///   missing, as they may for GNU tar.
    public func finish() throws(ArchiveError) {
        if let start, state.isHeader { throw .invalid(start.isEmpty ? "it is empty" : notTar(start)) }
        switch state {
        case .tail: return
        case .header where next.isEmpty && padding == 0 && !hasRest: return
        case .content, .names: throw .invalid("the archive is truncated within this entry", entry: next.lastName)
        default: throw next.naming(.invalid("the archive is truncated"))
        }
    }

    /// - Parameter start: the archive's first bytes.
    private func notTar(_ start: [UInt8]) -> String {
        let found =
            ForeignFile.name(start).map { "it begins like \($0)" } ?? "it begins like no tar archive, or is damaged"
        // What a decompressor knows does not come this far unless it lies in another stream.
        let times = CompressionFormat(detecting: start) == .none ? "" : ", after it was decompressed once"
        return "\(found)\(times): a tar archive is taken, as it is or compressed once with \(limits.compressions.text)"
    }

    private mutating func advance(_ bytes: Span<UInt8>, _ consumed: inout Int) throws(ArchiveError) -> Event {
        while true {
            if padding > 0 {
                let count = min(padding, bytes.count - consumed)
                padding -= count
                consumed += count
                if padding > 0 { return .needsInput }
            }
            switch state {
            case .content(let stored):
                if let event = content(stored, bytes.count - consumed) { return event }
            case .tail(let length):
                try tail(bytes.extracting(consumed..<bytes.count), length)
                consumed = bytes.count
                return .needsInput
            case .names(let remaining):
                let count = min(remaining, Int64(bytes.count - consumed))
                consumed += Int(count)
                guard remaining == count else {
                    state = .names(remaining: remaining - count)
                    return .needsInput
                }
                _ = endContent()
            case .prelude(let type, let remaining):
                let count = Int(min(remaining, Int64(bytes.count - consumed)))
                bytes.extracting(consumed..<consumed + count).withUnsafeBufferPointer { body.append(contentsOf: $0) }
                consumed += count
                guard remaining == Int64(count) else {
                    state = .prelude(type: type, remaining: remaining - Int64(count))
                    return .needsInput
                }
                state = .header
                try finishPrelude(type)
            case .header, .sparseBlocks, .sparseMap:
                guard bytes.count - consumed >= TarHeader.blockSize else {
                    hasRest = consumed < bytes.count
                    if start != nil { start = Self.start(bytes.extracting(consumed..<bytes.count)) }
                    return .needsInput
                }
                let block = bytes.extracting(consumed..<consumed + TarHeader.blockSize)
                consumed += TarHeader.blockSize
                if let entry = try take(block) { return .entry(entry) }
            }
        }
    }

    private mutating func take(_ block: Span<UInt8>) throws(ArchiveError) -> TarEntry? {
        switch state {
        case .sparseBlocks: return try takeSparseBlock(block)
        case .sparseMap: return try takeSparseMap(block)
        default: return try takeHeader(block)
        }
    }
}

// MARK: - Headers

extension TarReader {
    private mutating func takeHeader(_ block: Span<UInt8>) throws(ArchiveError) -> TarEntry? {
        if next.isEmpty, reserved > 0 { try hold(0) }
        if TarHeader.isZero(block) {
            start = nil
            guard next.isEmpty else { throw .invalid("the archive ends after a header that describes a next entry") }
            state = .tail(length: Int64(TarHeader.blockSize))
            return nil
        }
        if start != nil {
            guard TarHeader.checksumHolds(block) else { throw .invalid(notTar(Self.start(block))) }
            start = nil
        }
        let header = try TarHeader(block)
        switch header.type {
        case UInt8(ascii: "V"):
            guard header.size == 0, next.isEmpty else { throw .invalid("a volume label with content") }
            return nil
        case UInt8(ascii: "M"):
            throw .invalid(
                "the archive is one of several volumes: unpack them together with GNU tar (-M) and pack them into one",
                entry: header.name)
        case UInt8(ascii: "x"), UInt8(ascii: "g"), UInt8(ascii: "L"), UInt8(ascii: "K"):
            try beginPrelude(header)
            return nil
        default:
            next.header = header
            return try begin(block)
        }
    }

    private mutating func beginPrelude(_ header: TarHeader) throws(ArchiveError) {
        let isPax = header.type == UInt8(ascii: "x") || header.type == UInt8(ascii: "g")
        guard header.size <= Int64(isPax ? limits.headerLength : limits.nameLength + 1) else {
            throw .tooLarge(isPax ? "a PAX header is too long" : "the name is too long")
        }
        if header.type == UInt8(ascii: "g"), !next.isEmpty {
            throw .invalid("a global PAX header stands between an entry and its own header")
        }
        try hold(Self.recordFactor * Int(header.size))
        body.removeAll(keepingCapacity: body.capacity <= Self.ordinary)
        state = .prelude(type: header.type, remaining: header.size)
        if header.size == 0 {
            state = .header
            try finishPrelude(header.type)
        }
    }

    private mutating func finishPrelude(_ type: UInt8) throws(ArchiveError) {
        padding = Self.padding(Int64(body.count))
        switch type {
        case UInt8(ascii: "x"):
            guard next.pax == nil else { throw .invalid("two PAX headers describe one entry") }
            next.pax = try PaxRecords(parsing: body, maximumNumbers: limits.sparseParts * 2)
        case UInt8(ascii: "g"):
            let records = try PaxRecords(parsing: body, maximumNumbers: 0)
            guard records.isFitForAll else { throw .invalid("a global PAX header sets names or sizes") }
            global.modified = records.modified ?? global.modified
            global.userID = records.userID ?? global.userID
            global.groupID = records.groupID ?? global.groupID
        case UInt8(ascii: "L"):
            guard next.longName == nil else { throw .invalid("two long names for one entry") }
            next.longName = try longName()
        default:
            guard next.longLinkName == nil else { throw .invalid("two long link names for one entry") }
            next.longLinkName = try longName()
        }
    }

    /// Reserves memory for `bytes` bytes, rounded up to steps of `ordinary`. What is reserved shrinks only when `bytes`
    /// is 0, which gives all of it back before the next entry.
    ///
    /// - Throws: `.noMemory` if the reservation refuses.
    private mutating func hold(_ bytes: Int) throws(ArchiveError) {
        let wanted = bytes <= Self.ordinary ? 0 : (bytes / Self.ordinary + 1) * Self.ordinary
        guard bytes == 0 || wanted > reserved else { return }
        guard reserve(wanted) else { throw .noMemory }
        reserved = wanted
    }

    /// The GNU long name that was collected. It ends at a NUL, after which nothing but NULs may come.
    private func longName() throws(ArchiveError) -> [UInt8] {
        let name = Array(body.prefix { $0 != 0 })
        guard !name.isEmpty, body.dropFirst(name.count).allSatisfy({ $0 == 0 }) else {
            throw .invalid("a long name is empty or contains NUL")
        }
        return name
    }

    private static func start(_ bytes: Span<UInt8>) -> [UInt8] {
        bytes.extracting(0..<min(bytes.count, ForeignFile.length)).withUnsafeBufferPointer { Array($0) }
    }

    static func padding(_ length: Int64) -> Int {
        Int((512 - length % 512) % 512)
    }
}

// MARK: - Entries

extension TarReader {
    /// Begins an entry whose headers have all been read.
    ///
    /// - Parameter block: the entry's own header block.
    /// - Returns: the entry; `nil` if its sparse map has to be read first.
    private mutating func begin(_ block: Span<UInt8>) throws(ArchiveError) -> TarEntry? {
        var entry = try next.entry(global: global)
        guard entry.name.count <= limits.nameLength, entry.linkName.count <= limits.nameLength else {
            throw .tooLarge("the name is too long", entry: entry.name)
        }
        let stored = next.storedSize
        if next.isDumpDirectory {
            let entry = begin(entry, stored: stored)
            if stored > 0 { state = .names(remaining: stored) }
            return entry
        }
        if entry.kind != .file, stored != 0 {
            throw .invalid("only files may have content", entry: entry.name)
        }
        entry.size = stored
        next.partial = entry
        if next.isOldSparse {
            let realSize = try next.beginOldSparse(block)
            next.partial?.size = realSize
            guard block[482] == 0 else {
                state = .sparseBlocks
                return nil
            }
            return try beginSparse(stored: stored)
        }
        if let sparse = next.pax?.sparse, sparse.isPresent {
            guard entry.kind == .file, let realSize = sparse.realSize else {
                throw .invalid("a sparse file without a size", entry: entry.name)
            }
            next.partial?.size = realSize
            switch (sparse.major ?? 0, sparse.minor ?? 0) {
            case (0, _):
                guard sparse.count.map({ $0 == Int64(sparse.numbers.count / 2) }) ?? true else {
                    throw .invalid("the sparse map does not have the parts it says", entry: entry.name)
                }
                next.numbers = sparse.numbers
                return try beginSparse(stored: stored)
            case (1, 0):
                next.mapRemaining = stored
                state = .sparseMap
                return nil
            default: throw .invalid("an unknown version of sparse files", entry: entry.name)
            }
        }
        return begin(entry, stored: stored)
    }

    private mutating func begin(_ entry: TarEntry, stored: Int64) -> TarEntry {
        next = NextEntry(after: entry.name)
        if body.capacity > Self.ordinary { body = [] }
        state = entry.size > 0 || stored > 0 ? .content(stored: stored) : .header
        contentPadding = Self.padding(stored)
        return entry
    }

    private mutating func beginSparse(stored: Int64) throws(ArchiveError) -> TarEntry? {
        guard var entry = next.partial else { return nil }
        let map = try SparseMap(next.numbers, size: entry.size, stored: stored)
        sparse = SparseCursor(map: map)
        entry.isSparse = true
        return begin(entry, stored: stored)
    }

    private mutating func takeSparseBlock(_ block: Span<UInt8>) throws(ArchiveError) -> TarEntry? {
        try hold(Self.partBytes * (next.numbers.count / 2 + 21))
        try next.takeOldSparse(block, at: 0, count: 21, limit: limits.sparseParts)
        guard block[504] == 0 else { return nil }
        return try beginSparse(stored: next.storedSize)
    }

    private mutating func takeSparseMap(_ block: Span<UInt8>) throws(ArchiveError) -> TarEntry? {
        next.mapRemaining -= Int64(TarHeader.blockSize)
        guard next.mapRemaining >= 0 else { throw .invalid("the sparse map is longer than its file") }
        // Each number takes at least two bytes, a digit and a newline: that bounds how many this block adds.
        try hold(Self.partBytes * (next.numbers.count + block.count / 2) / 2)
        guard try next.takeMap(block, limit: limits.sparseParts) else { return nil }
        return try beginSparse(stored: next.mapRemaining)
    }

    private mutating func content(_ stored: Int64, _ available: Int) -> Event? {
        guard var cursor = sparse else {
            guard stored > 0 else { return endContent() }
            guard available > 0 else { return .needsInput }
            let count = min(stored, Int64(available))
            state = .content(stored: stored - count)
            return .content(Int(count))
        }
        switch cursor.next(available: available) {
        case nil:
            sparse = nil
            return endContent()
        case .content(let count):
            guard count > 0 else { return .needsInput }
            sparse = cursor
            state = .content(stored: stored - Int64(count))
            return .content(count)
        case let event?:
            sparse = cursor
            return event
        }
    }

    private mutating func endContent() -> Event? {
        padding = contentPadding
        state = .header
        return nil
    }

    private mutating func tail(_ bytes: Span<UInt8>, _ length: Int64) throws(ArchiveError) {
        guard TarHeader.isZero(bytes) else {
            throw .invalid(
                "bytes that are not zero follow the archive's end: if archives were joined, unpack all of it "
                    + "(tar --ignore-zeros) and pack it anew")
        }
        let length = length + Int64(bytes.count)
        guard length <= limits.tailLength else { throw .tooLarge("too many zeros follow the archive's end") }
        state = .tail(length: length)
    }
}
