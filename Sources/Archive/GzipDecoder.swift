import CISAL

/// Decompresses gzip (RFC 1952) by ISA-L: one or more members, each one's CRC and length checked.
struct GzipDecoder: ~Copyable {
    private struct Progress {
        var header = GzipHeader()
        /// Members that are complete.
        var members = 0
    }

    private let state: UnsafeMutablePointer<inflate_state>
    /// Beside the state, since a decoder that lives in an enum can't be changed in place.
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
                // No header, and the trailer is verified.
                state.pointee.crc_flag = UInt32(ISAL_GZIP_NO_HDR_VER)
            }
            let before = step
            try inflate(input, output, &step)
            if isMemberComplete {
                progress.pointee.header = GzipHeader()
                progress.pointee.members += 1
                guard step.consumed < input.count else { return step }
            } else if step.produced == output.count {
                return step
            } else if step.consumed == before.consumed, step.produced == before.produced {
                return step
            }
        }
    }

    func finish() throws(ArchiveError) {
        guard progress.pointee.members > 0, !progress.pointee.header.isBegun else {
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

    /// Whether the content is all out, and the trailer was right.
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
