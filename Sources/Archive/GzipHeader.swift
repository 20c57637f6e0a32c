import CISAL

/// Reads a gzip member's header (RFC 1952, section 2.3) from bytes that come in pieces of any size.
///
/// ISA-L can do that too, but version 2.30 stumbles over optional fields that are cut in the middle.
struct GzipHeader {
    private enum Field {
        /// The ten bytes that every header has.
        case fixed
        case extraLength
        case extra
        case name
        case comment
        case checksum
        case done
    }

    private static let fixed: [UInt8] = [0x1f, 0x8b, 8]

    private var field = Field.fixed
    /// Bytes of the field that were taken.
    private var taken = 0
    private var flags: UInt8 = 0
    private var extraLength = 0
    private var low: UInt8 = 0
    private var sum: UInt32 = 0

    var isDone: Bool { field == .done }
    var isBegun: Bool { field != .fixed || taken > 0 }

    /// Takes bytes up to the header's end.
    ///
    /// - Returns: how many.
    mutating func take(_ bytes: UnsafeRawBufferPointer) throws(ArchiveError) -> Int {
        var count = 0
        while !isDone, count < bytes.count {
            try take(bytes[count])
            count += 1
        }
        return count
    }

    private mutating func take(_ byte: UInt8) throws(ArchiveError) {
        if field == .checksum {
            if taken == 0 {
                low = byte
                taken = 1
                return
            }
            guard UInt32(byte) << 8 | UInt32(low) == sum & 0xffff else {
                throw .invalid("the gzip header's checksum is wrong")
            }
            return next(after: .checksum)
        }
        sum = withUnsafeBytes(of: byte) { byte in
            byte.baseAddress.map { crc32_gzip_refl(sum, $0.assumingMemoryBound(to: UInt8.self), 1) } ?? sum
        }
        taken += 1
        switch field {
        case .fixed:
            guard taken > Self.fixed.count || byte == Self.fixed[taken - 1] else {
                throw .invalid("not a gzip header")
            }
            if taken == 4 {
                guard byte & 0xe0 == 0 else { throw .invalid("a gzip header with unknown flags") }
                flags = byte
            }
            if taken == 10 { next(after: .fixed) }
        case .extraLength:
            extraLength |= Int(byte) << (8 * (taken - 1))
            if taken == 2 { next(after: .extraLength) }
        case .extra:
            if taken == extraLength { next(after: .extra) }
        case .name:
            if byte == 0 { next(after: .name) }
        case .comment:
            if byte == 0 { next(after: .comment) }
        case .checksum, .done: return
        }
    }

    private mutating func next(after old: Field) {
        taken = 0
        var old = old
        if old == .fixed {
            if flags & 4 != 0 { return field = .extraLength }
            old = .extra
        }
        if old == .extraLength {
            if extraLength > 0 { return field = .extra }
            old = .extra
        }
        if old == .extra {
            if flags & 8 != 0 { return field = .name }
            old = .name
        }
        if old == .name {
            if flags & 16 != 0 { return field = .comment }
            old = .comment
        }
        field = old == .comment && flags & 2 != 0 ? .checksum : .done
    }
}
