/// The fields of one 512-byte tar header block, of whatever format it is.
///
/// POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
struct TarHeader {
    enum Format {
        /// The format before POSIX: no magic, no owners' names, no prefix.
        case v7
        case ustar
        /// ustar with a shorter prefix, after which times are stored.
        case star
        /// Where ustar has the prefix, GNU has times and a sparse map.
        case gnu
    }

    static let blockSize = 512

    let format: Format
    let type: UInt8
    let name: [UInt8]
    let linkName: [UInt8]
    let mode: UInt32
    let userID: Int64
    let groupID: Int64
    let size: Int64
    let seconds: Int64

    /// - Parameter block: 512 bytes.
    /// - Throws: `ArchiveError` for a wrong checksum, for a field that is no number or that readers interpret
    ///   differently.
    init(_ block: Span<UInt8>) throws(ArchiveError) {
        guard Self.checksumHolds(block) else { throw .invalid("a header's checksum is wrong (damaged, or no tar)") }
        let own = Self.text(block, 0, 100)
        format = Self.format(block)
        type = block[156]
        switch format {
        case .ustar, .star:
            let prefix = Self.text(block, 345, format == .star ? 131 : 155)
            name = prefix.isEmpty ? own : prefix + [UInt8(ascii: "/")] + own
        case .v7:
            // Some readers take what stands here for a prefix of the name, as in ustar.
            guard block[345] == 0 else { throw .invalid("a header with an ambiguous prefix", entry: own) }
            name = own
        case .gnu:
            // GNU tar's incremental archives have the times of access and of change here.
            guard Self.number(block, 345, 12) != nil, Self.number(block, 357, 12) != nil else {
                throw .invalid("a header with an ambiguous prefix", entry: own)
            }
            name = own
        }
        linkName = Self.text(block, 157, 100)
        func field(_ start: Int, _ length: Int, _ what: String) throws(ArchiveError) -> Int64 {
            guard let value = Self.number(block, start, length) else {
                throw .invalid("the header's \(what) is not a number, or overflows", entry: own)
            }
            return value
        }
        mode = UInt32(truncatingIfNeeded: try field(100, 8, "mode")) & 0o7777
        userID = try field(108, 8, "uid")
        groupID = try field(116, 8, "gid")
        size = try field(124, 12, "size")
        seconds = try field(136, 12, "mtime")
        // Layers have no devices, but some readers stop at a header whose device fields are no numbers.
        _ = try field(329, 8, "major device number")
        _ = try field(337, 8, "minor device number")
        guard size >= 0 else { throw .invalid("the size is negative", entry: own) }
    }

    static func isZero(_ bytes: Span<UInt8>) -> Bool {
        bytes.withUnsafeBufferPointer { buffer in
            var found: UInt8 = 0
            for byte in buffer { found |= byte }
            return found == 0
        }
    }

    /// The bytes of a fixed field up to its first NUL.
    static func text(_ block: Span<UInt8>, _ start: Int, _ length: Int) -> [UInt8] {
        var end = start
        while end < start + length, block[end] != 0 { end += 1 }
        return block.extracting(start..<end).withUnsafeBufferPointer { Array($0) }
    }

    /// Octal digits between spaces or NULs, or GNU's base-256 when the first byte's top bit is set.
    ///
    /// - Returns: 0 for an empty field; `nil` for anything else, and for numbers past 64 bits.
    static func number(_ block: Span<UInt8>, _ start: Int, _ length: Int) -> Int64? {
        if block[start] & 0x80 != 0 { return base256(block, start, length) }
        var index = start
        let end = start + length
        while index < end, block[index] == UInt8(ascii: " ") || block[index] == 0 { index += 1 }
        var value: Int64 = 0
        while index < end, (UInt8(ascii: "0")...UInt8(ascii: "7")).contains(block[index]) {
            value = value << 3 | Int64(block[index] - UInt8(ascii: "0"))
            index += 1
        }
        while index < end {
            guard block[index] == UInt8(ascii: " ") || block[index] == 0 else { return nil }
            index += 1
        }
        return value
    }

    /// Reads GNU's base-256 notation. Its first byte may only give the sign: no writer needs the byte's other bits, and
    /// not all readers use them.
    private static func base256(_ block: Span<UInt8>, _ start: Int, _ length: Int) -> Int64? {
        guard block[start] == 0x80 || block[start] == 0xff else { return nil }
        var value: Int64 = block[start] == 0xff ? -1 : 0
        for index in start + 1..<start + length {
            let (product, overflow) = value.multipliedReportingOverflow(by: 256)
            guard !overflow else { return nil }
            value = product | Int64(block[index])
        }
        return value
    }

    private static func format(_ block: Span<UInt8>) -> Format {
        guard text(block, 257, 5) == Array("ustar".utf8) else { return .v7 }
        if block[262] == UInt8(ascii: " ") { return .gnu }
        return text(block, 508, 4) == Array("tar".utf8) ? .star : .ustar
    }

    /// Whether the stored checksum is the sum of all bytes, with the checksum field taken as spaces. Old writers summed
    /// signed bytes, so that sum is accepted, too.
    static func checksumHolds(_ block: Span<UInt8>) -> Bool {
        guard let stored = number(block, 148, 8) else { return false }
        let spaces: Int64 = 8 * 32
        let (unsigned, signed) = block.withUnsafeBufferPointer { bytes in
            var unsigned: UInt32 = 0
            var high: UInt32 = 0
            for byte in bytes {
                unsigned &+= UInt32(byte)
                high &+= UInt32(byte >> 7)
            }
            for byte in bytes[148..<156] {
                unsigned &-= UInt32(byte)
                high &-= UInt32(byte >> 7)
            }
            return (Int64(unsigned), Int64(unsigned) - 256 * Int64(high))
        }
        return stored == unsigned + spaces || stored == signed + spaces
    }
}
