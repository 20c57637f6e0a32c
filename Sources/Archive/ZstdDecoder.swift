import CZstd

/// Decompresses zstd (RFC 8878): one or more frames, skippable frames, with a bound on the history window.
struct ZstdDecoder: ~Copyable {
    private let context: OpaquePointer
    /// Whether the last frame is complete: what `ZSTD_decompressStream` returned last, 0 at a frame's end.
    private let expected: UnsafeMutablePointer<Int>

    init(maximumWindow: Int) throws(ArchiveError) {
        guard let context = ZSTD_createDCtx() else { throw .tooLarge("no memory for zstd") }
        let log = Int32(Int.bitWidth - 1 - max(maximumWindow, 1 << 10).leadingZeroBitCount)
        ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, min(log, 27))
        self.context = context
        expected = .allocate(capacity: 1)
        expected.initialize(to: 0)
    }

    deinit {
        ZSTD_freeDCtx(context)
        expected.deallocate()
    }

    func step(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(ArchiveError) -> Decompressor.Step {
        var source = ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
        var target = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
        while target.pos < target.size {
            let before = (source.pos, target.pos)
            if expected.pointee == 0, source.pos == source.size { break }
            let result = ZSTD_decompressStream(context, &target, &source)
            guard ZSTD_isError(result) == 0 else { throw problem(ZSTD_getErrorCode(result)) }
            expected.pointee = result
            if (source.pos, target.pos) == before { break }
        }
        return Decompressor.Step(consumed: source.pos, produced: target.pos)
    }

    func finish() throws(ArchiveError) {
        guard expected.pointee == 0 else { throw .invalid("the zstd stream is truncated") }
    }

    private func problem(_ code: ZSTD_ErrorCode) -> ArchiveError {
        switch code {
        case ZSTD_error_frameParameter_windowTooLarge, ZSTD_error_memory_allocation:
            .tooLarge("the zstd stream wants more history than is allowed")
        case ZSTD_error_prefix_unknown: .invalid("garbage after the zstd stream's end, or no zstd stream")
        case ZSTD_error_checksum_wrong: .invalid("the zstd stream's checksum is wrong")
        default: .invalid("the zstd stream is corrupt")
        }
    }
}
