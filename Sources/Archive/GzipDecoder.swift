import CISAL

/// Decompresses gzip (RFC 1952) by ISA-L: one or more members, each one's CRC and length checked.
struct GzipDecoder: ~Copyable {
    private let state: UnsafeMutablePointer<inflate_state>

    init() {
        state = .allocate(capacity: 1)
        isal_inflate_init(state)
        state.pointee.crc_flag = UInt32(ISAL_GZIP)
        progress.initialize(to: Progress())
    }

    deinit {
        state.deallocate()
        progress.deallocate()
    }

    private struct Progress {
        /// Input bytes that the current member has taken.
        var memberBytes = 0
        var members = 0
    }

    /// Beside the state, since a decoder that lives in an enum can't be changed in place.
    private let progress = UnsafeMutablePointer<Progress>.allocate(capacity: 1)

    func step(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(ArchiveError) -> Decompressor.Step {
        var step = Decompressor.Step()
        // ISA-L counts in 32 bits.
        let input = UnsafeRawBufferPointer(rebasing: input.prefix(1 << 30))
        let output = UnsafeMutableRawBufferPointer(rebasing: output.prefix(1 << 30))
        while true {
            if state.pointee.block_state == ISAL_BLOCK_FINISH, state.pointee.tmp_out_valid == state.pointee.tmp_out_processed {
                guard step.consumed < input.count else { return step }
                isal_inflate_reset(state)
                state.pointee.crc_flag = UInt32(ISAL_GZIP)
                progress.pointee.memberBytes = 0
                progress.pointee.members += 1
            }
            let before = step
            state.pointee.next_in = UnsafeMutablePointer(
                mutating: input.baseAddress.map { ($0 + step.consumed).assumingMemoryBound(to: UInt8.self) })
            state.pointee.avail_in = UInt32(input.count - step.consumed)
            state.pointee.next_out = output.baseAddress.map {
                ($0 + step.produced).assumingMemoryBound(to: UInt8.self)
            }
            state.pointee.avail_out = UInt32(output.count - step.produced)
            let result = isal_inflate(state)
            guard result == ISAL_DECOMP_OK || result == ISAL_END_INPUT || result == ISAL_OUT_OVERFLOW else {
                throw problem(result)
            }
            step.consumed = input.count - Int(state.pointee.avail_in)
            step.produced = output.count - Int(state.pointee.avail_out)
            progress.pointee.memberBytes += step.consumed - before.consumed
            if step.produced == output.count { return step }
            if step.consumed == before.consumed, step.produced == before.produced { return step }
        }
    }

    func finish() throws(ArchiveError) {
        guard state.pointee.block_state == ISAL_BLOCK_FINISH else {
            throw .invalid("the gzip stream is truncated")
        }
    }

    private func problem(_ result: Int32) -> ArchiveError {
        switch result {
        case ISAL_INVALID_WRAPPER where progress.pointee.members > 0: .invalid("garbage after the gzip stream's end")
        case ISAL_INVALID_WRAPPER, ISAL_UNSUPPORTED_METHOD: .invalid("not a valid gzip header")
        case ISAL_INCORRECT_CHECKSUM: .invalid("the gzip stream's checksum or length is wrong")
        default: .invalid("the gzip stream is corrupt")
        }
    }
}
