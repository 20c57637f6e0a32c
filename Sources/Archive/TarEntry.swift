/// One member of a tar archive, whichever format its header was in.
public struct TarEntry: Hashable, Sendable {
    public enum Kind: Hashable, Sendable {
        case file
        case directory
        case symbolicLink
        /// Another name of an entry earlier in the archive.
        case hardLink
        case characterDevice
        case blockDevice
        case fifo
    }

    public var kind: Kind
    /// The name as stored: bytes, in no particular encoding.
    public var name: [UInt8]
    /// Target of a symbolic or hard link, as stored; empty for other kinds.
    public var linkName: [UInt8]
    /// Permission, setuid, setgid and sticky bits (07777).
    public var mode: UInt32
    public var userID: Int64
    public var groupID: Int64
    public var userName: [UInt8]
    public var groupName: [UInt8]
    public var modified: TarTime
    /// The content's length in bytes, holes of a sparse file included. 0 for everything but files.
    public var size: Int64
    /// PAX records that none of the properties above hold, extended attributes among them, in the archive's order.
    public var records: [TarRecord]
    /// Whether the archive leaves out the file's holes.
    public var isSparse: Bool

    public init(
        kind: Kind, name: [UInt8], linkName: [UInt8] = [], mode: UInt32, userID: Int64 = 0, groupID: Int64 = 0,
        userName: [UInt8] = [], groupName: [UInt8] = [], modified: TarTime, size: Int64 = 0,
        records: [TarRecord] = [], isSparse: Bool = false
    ) {
        self.kind = kind
        self.name = name
        self.linkName = linkName
        self.mode = mode
        self.userID = userID
        self.groupID = groupID
        self.userName = userName
        self.groupName = groupName
        self.modified = modified
        self.size = size
        self.records = records
        self.isSparse = isSparse
    }
}

/// One record of a PAX extended header (POSIX.1-2017, pax, "pax Extended Header").
public struct TarRecord: Hashable, Sendable {
    public var key: String
    public var value: [UInt8]

    public init(key: String, value: [UInt8]) {
        self.key = key
        self.value = value
    }
}

/// Which parts of a sparse file are stored; everything else reads as zeros.
struct SparseMap {
    struct Part: Hashable {
        var offset: Int64
        var length: Int64
    }

    private(set) var parts: [Part] = []
    let size: Int64

    /// - Parameters:
    ///   - numbers: offset and length by turns, ascending, without overlaps.
    ///   - size: the whole file's size in bytes, holes included.
    ///   - stored: how many bytes all parts have together.
    /// - Throws: `ArchiveError` if the numbers break these rules.
    init(_ numbers: [Int64], size: Int64, stored: Int64) throws(ArchiveError) {
        guard numbers.count.isMultiple(of: 2) else { throw .invalid("the sparse map is incomplete") }
        var end: Int64 = 0
        var sum: Int64 = 0
        for index in stride(from: 0, to: numbers.count, by: 2) {
            let part = Part(offset: numbers[index], length: numbers[index + 1])
            let (partEnd, overflow) = part.offset.addingReportingOverflow(part.length)
            guard part.offset >= end, part.length >= 0, !overflow, partEnd <= size else {
                throw .invalid("the sparse map's parts overlap, run backwards or past the file's end")
            }
            if part.length > 0 { parts.append(part) }
            end = partEnd
            sum += part.length
        }
        guard sum == stored else { throw .invalid("the sparse map and the stored size disagree") }
        self.size = size
    }
}

/// A point in time, to the nanosecond, as tar stores it.
public struct TarTime: Hashable, Sendable, Comparable {
    /// Seconds since 1970-01-01T00:00:00Z; negative before it.
    public var seconds: Int64
    /// 0 to 999 999 999, counted forwards from `seconds` also where that is negative.
    public var nanoseconds: Int32

    public init(seconds: Int64, nanoseconds: Int32 = 0) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    public static func < (left: TarTime, right: TarTime) -> Bool {
        (left.seconds, left.nanoseconds) < (right.seconds, right.nanoseconds)
    }

    /// Parses PAX's decimal notation: `-?digits[.digits]`. A fraction finer than a nanosecond is rounded down.
    ///
    /// - Returns: `nil` for any other text, and for more than 18 digits of seconds.
    init?(pax text: some Collection<UInt8>) {
        var rest = text[...]
        let isNegative = rest.first == UInt8(ascii: "-")
        if isNegative { rest = rest.dropFirst() }
        let whole = rest.prefix { $0 != UInt8(ascii: ".") }
        guard !whole.isEmpty, whole.count <= 18, let seconds = Int64(decimal: whole) else { return nil }
        var nanoseconds: Int32 = 0
        var hasMore = false
        if whole.endIndex != rest.endIndex {
            var digits = 0
            for byte in rest[rest.index(after: whole.endIndex)...] {
                guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
                if digits < 9 {
                    nanoseconds = nanoseconds * 10 + Int32(byte - UInt8(ascii: "0"))
                    digits += 1
                } else if byte != UInt8(ascii: "0") {
                    hasMore = true
                }
            }
            while digits < 9 {
                nanoseconds *= 10
                digits += 1
            }
        }
        guard isNegative else {
            self.init(seconds: seconds, nanoseconds: nanoseconds)
            return
        }
        if hasMore { nanoseconds += 1 }
        if nanoseconds == 1_000_000_000 {
            self.init(seconds: -seconds - 1)
        } else if nanoseconds > 0 {
            self.init(seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds)
        } else {
            self.init(seconds: -seconds)
        }
    }

    /// The time in PAX's decimal notation, without trailing zeros.
    var paxText: String {
        guard nanoseconds != 0 else { return String(seconds) }
        let isNegative = seconds < 0
        let whole = isNegative ? -(seconds + 1) : seconds
        let fraction = isNegative ? 1_000_000_000 - nanoseconds : nanoseconds
        var digits = String(fraction)
        digits = String(repeating: "0", count: 9 - digits.count) + digits
        while digits.last == "0" { digits.removeLast() }
        return "\(isNegative ? "-" : "")\(whole).\(digits)"
    }
}

extension Int64 {
    /// Parses decimal digits; `nil` for an empty text, for any other byte and on overflow.
    init?(decimal text: some Collection<UInt8>) {
        guard !text.isEmpty else { return nil }
        var value: Int64 = 0
        for byte in text {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(Int64(byte - UInt8(ascii: "0")))
            guard !overflow, !carry else { return nil }
            value = sum
        }
        self = value
    }
}
