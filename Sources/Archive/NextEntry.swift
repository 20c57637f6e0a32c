/// What `TarReader` has gathered about the entry that comes next.
struct NextEntry {
    var longName: [UInt8]?
    var longLinkName: [UInt8]?
    var pax: PaxRecords?
    var header: TarHeader?
    /// The entry while its sparse map is being read.
    var partial: TarEntry?
    /// The sparse map as far as it was read.
    var numbers: [Int64] = []
    /// For a sparse file of version 1.0: bytes of its map and content that have not been read yet.
    var mapRemaining: Int64 = 0
    private var mapCount: Int64?
    private var digits: [UInt8] = []
    /// The entry before this one, for errors about what comes after it.
    let lastName: [UInt8]?

    /// The largest size that a header holds in octal digits.
    private static let largestOctal: Int64 = 0o777_7777_7777

    init(after lastName: [UInt8]? = nil) {
        self.lastName = lastName
    }

    /// Whether no header that describes the next entry (PAX or GNU long name) has been read yet.
    var isEmpty: Bool { longName == nil && longLinkName == nil && pax == nil }

    /// The entry's name, as far as the headers read so far tell it.
    var knownName: [UInt8]? {
        partial?.name ?? pax?.sparse.name ?? pax?.path ?? longName ?? header?.name
    }

    /// Adds to an error the name of the entry that it is about, or else of the entry before it.
    func naming(_ error: ArchiveError) -> ArchiveError {
        guard error.entry == nil else { return error }
        if let knownName { return ArchiveError(error.fault, error.reason, entry: knownName) }
        guard let lastName else { return error }
        return ArchiveError(error.fault, "after this entry: \(error.reason)", entry: lastName)
    }

    /// Bytes of content that follow the header.
    var storedSize: Int64 { pax?.size ?? header?.size ?? 0 }

    /// Whether the entry is a directory of GNU's incremental archives, whose content lists names.
    var isDumpDirectory: Bool { header?.type == UInt8(ascii: "D") }

    var isOldSparse: Bool { header?.type == UInt8(ascii: "S") }

    /// The entry that the headers describe, but for its size, which a sparse map may still change.
    ///
    /// - Parameter global: what the archive's global PAX headers have set; the entry's own headers override it.
    /// - Throws: `ArchiveError` if the headers contradict one another, or the type is unknown.
    func entry(global: PaxRecords) throws(ArchiveError) -> TarEntry {
        guard let header else { throw .invalid("no header") }
        let pax = pax ?? PaxRecords()
        guard longName == nil || (pax.path == nil && pax.sparse.name == nil),
            longLinkName == nil || pax.linkPath == nil
        else { throw .invalid("a GNU long name and a PAX path describe one entry") }
        let name = pax.sparse.name ?? pax.path ?? longName ?? header.name
        guard !name.isEmpty else { throw .invalid("an entry has no name") }
        let kind = try Self.kind(header, name: name, isEmpty: storedSize == 0)
        // A writer needs the record where the header can't hold the size, which is then 0 or cut off there.
        if let size = pax.size, size != header.size, header.size != 0, size <= Self.largestOctal {
            throw .invalid("the PAX header says another size than the entry's own header", entry: name)
        }
        let isLink = kind == .symbolicLink || kind == .hardLink
        if isLink == false, longLinkName != nil || pax.linkPath != nil {
            throw .invalid("an entry that is no link has a link's target", entry: name)
        }
        return TarEntry(
            kind: kind, name: name,
            linkName: isLink ? pax.linkPath ?? longLinkName ?? header.linkName : [],
            mode: header.mode, userID: pax.userID ?? global.userID ?? header.userID,
            groupID: pax.groupID ?? global.groupID ?? header.groupID,
            modified: pax.modified ?? global.modified ?? TarTime(seconds: header.seconds), records: pax.others)
    }

    private static func kind(
        _ header: TarHeader, name: [UInt8], isEmpty: Bool
    ) throws(ArchiveError) -> TarEntry.Kind {
        switch header.type {
        case 0, UInt8(ascii: "0"), UInt8(ascii: "7"):
            guard name.last == UInt8(ascii: "/") else { return .file }
            // Before POSIX a directory was a file whose name ends with a slash.
            guard isEmpty else { throw .invalid("a directory has content", entry: name) }
            return .directory
        case UInt8(ascii: "S") where header.format == .gnu: return .file
        case UInt8(ascii: "1"): return .hardLink
        case UInt8(ascii: "2"): return .symbolicLink
        case UInt8(ascii: "3"): return .characterDevice
        case UInt8(ascii: "4"): return .blockDevice
        case UInt8(ascii: "5"), UInt8(ascii: "D"): return .directory
        case UInt8(ascii: "6"): return .fifo
        default:
            throw .invalid("an entry of unknown type '\(printableName([header.type]))'", entry: name)
        }
    }
}

// MARK: - Sparse maps

extension NextEntry {
    /// Begins the map of GNU's old sparse format: four parts in the header itself, more in blocks after it.
    ///
    /// - Returns: the whole file's size.
    mutating func beginOldSparse(_ block: Span<UInt8>) throws(ArchiveError) -> Int64 {
        guard let size = TarHeader.number(block, 483, 12), size >= 0 else {
            throw .invalid("a sparse file's size is not a number, or overflows")
        }
        try takeOldSparse(block, at: 386, count: 4, limit: 4)
        return size
    }

    mutating func takeOldSparse(
        _ block: Span<UInt8>, at start: Int, count: Int, limit: Int
    ) throws(ArchiveError) {
        for index in 0..<count {
            let field = start + index * 24
            guard block[field] != 0 || block[field + 12] != 0 else {
                guard TarHeader.isZero(block.extracting(field..<start + count * 24)) else {
                    throw .invalid("the sparse map has parts after its end")
                }
                return
            }
            guard let offset = TarHeader.number(block, field, 12), let length = TarHeader.number(block, field + 12, 12)
            else { throw .invalid("the sparse map has what is no number, or overflows") }
            guard numbers.count < limit * 2 else { throw .tooLarge("too many parts in a sparse file") }
            numbers += [offset, length]
        }
    }

    /// Takes one block of a map of version 1.0: decimal numbers on lines of their own, the first of which is the number
    /// of parts, padded to whole blocks.
    ///
    /// - Returns: whether the map is complete.
    mutating func takeMap(_ block: Span<UInt8>, limit: Int) throws(ArchiveError) -> Bool {
        for index in 0..<block.count {
            guard block[index] == UInt8(ascii: "\n") else {
                guard digits.count < 20 else { throw .invalid("the sparse map has what is no number") }
                digits.append(block[index])
                continue
            }
            guard let number = Int64(decimal: digits) else {
                throw .invalid("the sparse map has what is no number, or overflows")
            }
            digits.removeAll(keepingCapacity: true)
            if mapCount == nil {
                guard number <= limit else { throw .tooLarge("too many parts in a sparse file") }
                mapCount = number
            } else {
                numbers.append(number)
            }
            if let mapCount, numbers.count == Int(mapCount) * 2 { return true }
        }
        return false
    }
}

/// How far the content of a sparse file has been read.
struct SparseCursor {
    private let map: SparseMap
    private var index = 0
    private var position: Int64 = 0

    init(map: SparseMap) {
        self.map = map
    }

    /// The next hole, or the next stored bytes, at most `available` of them; `nil` at the file's end.
    mutating func next(available: Int) -> TarReader.Event? {
        let partStart = index < map.parts.count ? map.parts[index].offset : map.size
        if position < partStart {
            defer { position = partStart }
            return .hole(partStart - position)
        }
        guard index < map.parts.count else { return nil }
        let end = map.parts[index].offset + map.parts[index].length
        let count = min(end - position, Int64(available))
        position += count
        if position == end { index += 1 }
        return .content(Int(count))
    }
}
