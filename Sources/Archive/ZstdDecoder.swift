import CZstd

/// Decompresses zstd (RFC 8878): one or more frames, skippable frames, with a bound on the history window.
struct ZstdDecoder: ~Copyable {
    private struct Progress {
        /// The beginning of the next frame, as far as it was seen; libzstd has not got it yet.
        var header: [UInt8] = []
        var isInFrame = false
        /// Frames that are complete.
        var frames = 0
        /// The largest window so far, in bytes.
        var window: UInt64 = 0
    }

    /// How many bytes libzstd's decoder holds besides its window.
    private static let tables = 512 << 10

    private let context: OpaquePointer
    /// On the heap, because a decoder that is an enum's payload can't be changed in place.
    private let progress: UnsafeMutablePointer<Progress>
    private let maximumWindow: Int
    private let reserve: Reservation

    init(maximumWindow: Int, reserve: @escaping Reservation) throws(ArchiveError) {
        guard let context = ZSTD_createDCtx() else { throw .noMemory }
        // What a frame asks for is compared with the bound before libzstd gets to see it.
        ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, ZSTD_dParam_getBounds(ZSTD_d_windowLogMax).upperBound)
        self.context = context
        self.maximumWindow = maximumWindow
        self.reserve = reserve
        progress = .allocate(capacity: 1)
        progress.initialize(to: Progress())
    }

    deinit {
        ZSTD_freeDCtx(context)
        progress.deinitialize(count: 1)
        progress.deallocate()
    }

    /// Whether nothing but another frame can follow.
    var isBetweenMembers: Bool {
        progress.pointee.frames > 0 && !progress.pointee.isInFrame && progress.pointee.header.isEmpty
    }

    /// Decompresses up to a frame's end at most.
    func step(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(ArchiveError) -> Decompressor.Step {
        var step = Decompressor.Step()
        if !progress.pointee.isInFrame {
            while step.consumed < input.count, try !isHeaderComplete() {
                progress.pointee.header.append(input[step.consumed])
                step.consumed += 1
            }
            guard try isHeaderComplete() else { return step }
            try admitFrame()
            progress.pointee.isInFrame = true
        }
        let held = progress.pointee.header
        if !held.isEmpty {
            let taken = try held.withUnsafeBufferPointer { held throws(ArchiveError) in
                try decode(UnsafeRawBufferPointer(held), into: output)
            }
            progress.pointee.header.removeFirst(taken.consumed)
            step.produced = taken.produced
            guard progress.pointee.header.isEmpty, progress.pointee.isInFrame else { return step }
        }
        let taken = try decode(
            UnsafeRawBufferPointer(rebasing: input[step.consumed...]),
            into: UnsafeMutableRawBufferPointer(rebasing: output[step.produced...]))
        step.consumed += taken.consumed
        step.produced += taken.produced
        return step
    }

    func finish() throws(ArchiveError) {
        guard !progress.pointee.isInFrame, progress.pointee.header.isEmpty else {
            throw .invalid("the zstd stream is truncated")
        }
    }

    private func decode(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(ArchiveError) -> Decompressor.Step {
        var source = ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
        var target = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
        while target.pos < target.size {
            let before = (source.pos, target.pos)
            let result = ZSTD_decompressStream(context, &target, &source)
            guard ZSTD_isError(result) == 0 else { throw Self.problem(ZSTD_getErrorCode(result)) }
            if result == 0 {
                progress.pointee.isInFrame = false
                progress.pointee.frames += 1
                break
            }
            if (source.pos, target.pos) == before { break }
        }
        return Decompressor.Step(consumed: source.pos, produced: target.pos)
    }

    private static func problem(_ code: ZSTD_ErrorCode) -> ArchiveError {
        switch code {
        case ZSTD_error_memory_allocation: .noMemory
        case ZSTD_error_checksum_wrong: .invalid("the zstd stream's checksum is wrong")
        default: .invalid("the zstd stream is corrupt")
        }
    }
}

// MARK: - Frame headers

extension ZstdDecoder {
    /// Whether all of a frame's header is there that tells its window (RFC 8878, section 3.1.1.1).
    private func isHeaderComplete() throws(ArchiveError) -> Bool {
        let header = progress.pointee.header
        guard header.count >= CompressionFormat.magicLength else { return false }
        switch CompressionFormat(detecting: header) {
        case .zstd where header[0] != 0x28: return true
        case .zstd: return header.count > 4 && header.count == FrameHeader(descriptor: header[4]).length
        default: throw .invalid("garbage after the zstd stream's end, or no zstd stream")
        }
    }

    /// Compares the window that the frame asks for with the bound, and reserves memory for it.
    private func admitFrame() throws(ArchiveError) {
        let header = progress.pointee.header
        guard header[0] == 0x28 else { return }
        let window = FrameHeader(descriptor: header[4]).window(header)
        guard window <= UInt64(maximumWindow) else {
            throw .tooLarge(
                "the zstd stream asks for \(Self.mebibytes(window)) MiB of history, and at most "
                    + "\(Self.mebibytes(UInt64(maximumWindow))) MiB are taken: compress it without --long, or with "
                    + "--long=\(Int.bitWidth - 1 - max(maximumWindow, 1).leadingZeroBitCount) at most")
        }
        guard window > progress.pointee.window else { return }
        guard reserve(Int(window) + Self.tables) else {
            throw ArchiveError(
                .noMemory,
                "the zstd stream asks for \(Self.mebibytes(window)) MiB of history, for which there is no memory now: "
                    + "try again, or compress it without --long and --ultra")
        }
        progress.pointee.window = window
    }

    private static func mebibytes(_ bytes: UInt64) -> UInt64 { bytes / (1 << 20) + (bytes % (1 << 20) == 0 ? 0 : 1) }

    /// The layout of a frame's header, which its fifth byte tells.
    private struct FrameHeader {
        /// Whether the content is in memory as a whole while it is decompressed, so that its size is the window.
        let isSingleSegment: Bool
        /// Where the content's size begins, and how many bytes it has.
        let sizeStart: Int
        let sizeLength: Int

        init(descriptor: UInt8) {
            isSingleSegment = descriptor & 0x20 != 0
            sizeStart = (isSingleSegment ? 5 : 6) + [0, 1, 2, 4][Int(descriptor & 3)]
            sizeLength = [isSingleSegment ? 1 : 0, 2, 4, 8][Int(descriptor >> 6)]
        }

        var length: Int { sizeStart + sizeLength }

        /// - Parameter header: at least `length` bytes.
        func window(_ header: [UInt8]) -> UInt64 {
            guard !isSingleSegment else {
                let size = header[sizeStart..<length].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
                return sizeLength == 2 ? size + 256 : size
            }
            let base = UInt64(1) << (10 + UInt64(header[5] >> 3))
            return base + base / 8 * UInt64(header[5] & 7)
        }
    }
}
