import CZstd

/// Compresses to zstd with pinned parameters, in one thread. Another version of libzstd may give other bytes.
struct ZstdEncoder: ~Copyable {
    private let context: OpaquePointer
    private let scratch: UnsafeMutableRawBufferPointer

    init() throws(ArchiveError) {
        guard let context = ZSTD_createCCtx() else { throw .tooLarge("no memory for zstd") }
        // Level 3's parameters for streams of unknown length, written out so that a library can't change them.
        let parameters: [(ZSTD_cParameter, Int32)] = [
            (ZSTD_c_compressionLevel, 3), (ZSTD_c_windowLog, 21), (ZSTD_c_chainLog, 16), (ZSTD_c_hashLog, 17),
            (ZSTD_c_searchLog, 1), (ZSTD_c_minMatch, 5), (ZSTD_c_targetLength, 0),
            (ZSTD_c_strategy, Int32(ZSTD_dfast.rawValue)), (ZSTD_c_contentSizeFlag, 0), (ZSTD_c_checksumFlag, 1),
            (ZSTD_c_dictIDFlag, 0), (ZSTD_c_nbWorkers, 0),
        ]
        for (parameter, value) in parameters where ZSTD_isError(ZSTD_CCtx_setParameter(context, parameter, value)) != 0
        {
            ZSTD_freeCCtx(context)
            throw .invalid("zstd does not know a parameter")
        }
        self.context = context
        scratch = .allocate(byteCount: 128 << 10, alignment: 64)
    }

    deinit {
        ZSTD_freeCCtx(context)
        scratch.deallocate()
    }

    func compress(_ piece: UnsafeRawBufferPointer, isLast: Bool, into output: inout [UInt8]) throws(ArchiveError) {
        var source = ZSTD_inBuffer(src: piece.baseAddress, size: piece.count, pos: 0)
        var remaining = 0
        repeat {
            var target = ZSTD_outBuffer(dst: scratch.baseAddress, size: scratch.count, pos: 0)
            remaining = ZSTD_compressStream2(context, &target, &source, isLast ? ZSTD_e_end : ZSTD_e_continue)
            guard ZSTD_isError(remaining) == 0 else { throw .invalid("zstd compression failed") }
            output.append(contentsOf: scratch.prefix(target.pos))
        } while source.pos < source.size || (isLast && remaining > 0)
    }
}
