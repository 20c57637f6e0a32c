import CISAL

/// Decompresses gzip (RFC 1952) by ISA-L: one or more members, each one's CRC and length checked.
struct GzipDecoder: ~Copyable {
    private struct Progress {
        var header = GzipHeader()
        /// Members that are complete.
        var members = 0
    }

    private let state: UnsafeMutablePointer<inflate_state>
    /// On the heap like the state, because a decoder that is an enum's payload can't be changed in place.
    private let progress: UnsafeMutablePointer<Progress>

    init() {
        state = .allocate(capacity: 1)
        isal_inflate_init(state)
        progress = .allocate(capacity: 1)
        progress.initialize(to: Progress())
    }

    deinit {
        state.deallocate()
        progress.deallocate()
    }

    /// Whether nothing but another member can follow.
    var isBetweenMembers: Bool { progress.pointee.members > 0 && !progress.pointee.header.isBegun }

    /// Decompresses up to a member's end at most.
    func step(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(ArchiveError) -> Decompressor.Step {
        var step = Decompressor.Step()
        // ISA-L counts in 32 bits.
        let input = UnsafeRawBufferPointer(rebasing: input.prefix(1 << 30))
        let output = UnsafeMutableRawBufferPointer(rebasing: output.prefix(1 << 30))
        while true {
            if !progress.pointee.header.isDone {
                step.consumed += try takeHeader(UnsafeRawBufferPointer(rebasing: input[step.consumed...]))
                guard progress.pointee.header.isDone else { return step }
                isal_inflate_reset(state)
                // `GzipHeader` has read the header, so ISA-L reads the content alone and verifies the trailer.
                state.pointee.crc_flag = UInt32(ISAL_GZIP_NO_HDR_VER)
            }
            let before = step
            try inflate(input, output, &step)
            if isMemberComplete {
                progress.pointee.header = GzipHeader()
                progress.pointee.members += 1
                return step
            } else if step.produced == output.count {
                return step
            } else if step.consumed == before.consumed, step.produced == before.produced {
                return step
            }
        }
    }

    func finish() throws(ArchiveError) {
        guard isBetweenMembers else {
            throw .invalid("the gzip stream is truncated")
        }
    }

    private func takeHeader(_ input: UnsafeRawBufferPointer) throws(ArchiveError) -> Int {
        do {
            return try progress.pointee.header.take(input)
        } catch {
            guard progress.pointee.members == 0 else { throw .invalid("garbage after the gzip stream's end") }
            throw error
        }
    }

    /// Whether all content of the member has been written out, and its trailer verified.
    private var isMemberComplete: Bool {
        state.pointee.block_state == ISAL_BLOCK_FINISH
            && state.pointee.tmp_out_valid == state.pointee.tmp_out_processed
    }

    private func inflate(
        _ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer, _ step: inout Decompressor.Step
    ) throws(ArchiveError) {
        state.pointee.next_in = UnsafeMutablePointer(
            mutating: input.baseAddress.map { ($0 + step.consumed).assumingMemoryBound(to: UInt8.self) })
        state.pointee.avail_in = UInt32(input.count - step.consumed)
        state.pointee.next_out = output.baseAddress.map { ($0 + step.produced).assumingMemoryBound(to: UInt8.self) }
        state.pointee.avail_out = UInt32(output.count - step.produced)
        let result = isal_inflate(state)
        switch result {
        case ISAL_DECOMP_OK, ISAL_END_INPUT, ISAL_OUT_OVERFLOW: break
        case ISAL_INCORRECT_CHECKSUM: throw .invalid("the gzip stream's checksum or length is wrong")
        default: throw .invalid("the gzip stream is corrupt")
        }
        step.consumed = input.count - Int(state.pointee.avail_in)
        step.produced = output.count - Int(state.pointee.avail_out)
    }
}

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
    /// - Returns: how many bytes were taken.
    /// - Throws: `ArchiveError` for what is no gzip header, unknown flags or a wrong checksum.
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
