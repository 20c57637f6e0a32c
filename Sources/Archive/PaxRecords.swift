/// What a PAX extended header says about the entry after it or, if it is a global one, about all entries after it.
struct PaxRecords {
    var path: [UInt8]?
    var linkPath: [UInt8]?
    var size: Int64?
    var modified: TarTime?
    var userID: Int64?
    var groupID: Int64?
    var sparse = Sparse()
    /// All other records but the ignored ones.
    var others: [TarRecord] = []

    /// The records `GNU.sparse.*`, in their versions 0.0, 0.1 and 1.0.
    struct Sparse {
        var name: [UInt8]?
        var realSize: Int64?
        var major: Int64?
        var minor: Int64?
        var count: Int64?
        /// The map of versions 0.0 and 0.1: offset and length by turns.
        var numbers: [Int64] = []
        var hasOffset = false
        var isPresent = false
    }

    /// Keys of records that no layer keeps.
    private static let ignored: Set<String> = [
        "atime", "ctime", "comment", "charset", "hdrcharset", "uname", "gname", "LIBARCHIVE.creationtime",
        "SCHILY.dev", "SCHILY.ino", "SCHILY.nlink", "GNU.dumpdir", "GNU.volume.label",
    ]

    init() {}

    /// How many records one header may have, besides those of a sparse map.
    private static let maximumRecords = 1000

    /// - Parameters:
    ///   - body: records of the form `length key=value\n`, each as long as it says.
    ///   - maximumNumbers: how many numbers a sparse map may have.
    /// - Throws: `ArchiveError` for records that are malformed, contradict one another or are too many.
    init(parsing body: [UInt8], maximumNumbers: Int) throws(ArchiveError) {
        var rest = body[...]
        var count = 0
        while !rest.isEmpty {
            guard let space = rest.prefix(20).firstIndex(of: UInt8(ascii: " ")),
                let length = Int64(decimal: rest[rest.startIndex..<space]),
                length <= rest.count, rest.startIndex + Int(length) > space + 1,
                rest[rest.startIndex + Int(length) - 1] == UInt8(ascii: "\n")
            else { throw .invalid("a PAX header's record does not have the length it says") }
            let record = rest[(space + 1)..<(rest.startIndex + Int(length) - 1)]
            guard let equals = record.firstIndex(of: UInt8(ascii: "=")), equals > record.startIndex else {
                throw .invalid("a PAX header's record has no key")
            }
            let key = String(decoding: record[..<equals], as: UTF8.self)
            try apply(key, record[(equals + 1)...], maximumNumbers: maximumNumbers)
            rest = rest.dropFirst(Int(length))
            count += 1
            guard count <= Self.maximumRecords + sparse.numbers.count else {
                throw .tooLarge("a PAX header has too many records")
            }
        }
    }

    /// Whether a global header may have these records: with names or sizes in it, readers would disagree about entries.
    var isFitForAll: Bool { path == nil && linkPath == nil && size == nil && !sparse.isPresent }

    private mutating func apply(
        _ key: String, _ value: ArraySlice<UInt8>, maximumNumbers: Int
    ) throws(ArchiveError) {
        switch key {
        case "path": path = try Self.name(value, key)
        case "linkpath": linkPath = try Self.name(value, key)
        case "size": size = try Self.count(value, key)
        case "uid": userID = try Self.count(value, key)
        case "gid": groupID = try Self.count(value, key)
        case "mtime":
            guard let time = TarTime(pax: value) else { throw .invalid("the PAX mtime is not a time") }
            modified = time
        case "GNU.volume.filename":
            throw .invalid(
                "the archive is one of several volumes: unpack them together with GNU tar (-M) and pack them into one")
        case "SCHILY.realsize":
            throw .invalid("sparse files of star are not supported")
        default:
            if key.hasPrefix("GNU.sparse.") {
                try sparse.apply(key, value, maximumNumbers: maximumNumbers)
            } else if !Self.ignored.contains(key) {
                others.append(TarRecord(key: key, value: Array(value)))
            }
        }
    }

    fileprivate static func name(_ value: ArraySlice<UInt8>, _ key: String) throws(ArchiveError) -> [UInt8] {
        guard !value.isEmpty, !value.contains(0) else { throw .invalid("the PAX \(key) is empty or contains NUL") }
        return Array(value)
    }

    fileprivate static func count(_ value: ArraySlice<UInt8>, _ key: String) throws(ArchiveError) -> Int64 {
        guard let number = Int64(decimal: value) else {
            throw .invalid("the PAX \(key) is not a number, or overflows")
        }
        return number
    }
}

extension PaxRecords.Sparse {
    fileprivate mutating func apply(
        _ key: String, _ value: ArraySlice<UInt8>, maximumNumbers: Int
    ) throws(ArchiveError) {
        isPresent = true
        switch key {
        case "GNU.sparse.name": name = try PaxRecords.name(value, key)
        case "GNU.sparse.size", "GNU.sparse.realsize": realSize = try PaxRecords.count(value, key)
        case "GNU.sparse.major": major = try PaxRecords.count(value, key)
        case "GNU.sparse.minor": minor = try PaxRecords.count(value, key)
        case "GNU.sparse.numblocks": count = try PaxRecords.count(value, key)
        case "GNU.sparse.map":
            numbers = []
            var rest = value
            while true {
                guard numbers.count < maximumNumbers else { throw .tooLarge("too many parts in a sparse file") }
                let end = rest.firstIndex(of: UInt8(ascii: ",")) ?? rest.endIndex
                numbers.append(try PaxRecords.count(rest[..<end], key))
                guard end < rest.endIndex else { break }
                rest = rest[(end + 1)...]
            }
        case "GNU.sparse.offset", "GNU.sparse.numbytes":
            guard hasOffset == (key == "GNU.sparse.numbytes") else {
                throw .invalid("the sparse map's offsets and lengths are not in pairs")
            }
            guard numbers.count < maximumNumbers else { throw .tooLarge("too many parts in a sparse file") }
            hasOffset.toggle()
            numbers.append(try PaxRecords.count(value, key))
        default: throw .invalid("'\(printableName(Array(key.utf8)))' is not a known sparse record")
        }
    }
}
