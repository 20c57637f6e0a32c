import CBzip2
import CLZMA

/// Decompresses xz by liblzma: one or more streams, with padding.
///
/// It is not libarchive's filter, because that sets liblzma no limit: each block of a stream may ask for 4 GiB.
struct XZDecoder: ~Copyable {
    private let stream: UnsafeMutablePointer<lzma_stream>
    private let maximumMemory: UInt64
    private let reserve: Reservation

    /// - Parameter maximumWindow: bytes of history that a stream may ask for.
    init(maximumWindow: Int, reserve: @escaping Reservation) throws(ArchiveError) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: lzma_stream())
        // What the decoder holds besides the history is far less than this.
        maximumMemory = UInt64(maximumWindow) + 1 << 20
        self.reserve = reserve
        // The smallest limit makes liblzma stop and say how much it needs before it takes it.
        guard lzma_stream_decoder(stream, 1, clzma_concatenated()) == LZMA_OK else { throw .noMemory }
    }

    deinit {
        lzma_end(stream)
        stream.deallocate()
    }

    func step(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(ArchiveError) -> Decompressor.Step {
        try run(LZMA_RUN, input, output)
        return Decompressor.Step(
            consumed: input.count - stream.pointee.avail_in, produced: output.count - stream.pointee.avail_out)
    }

    func finish() throws(ArchiveError) {
        let isEnded = try withUnsafeTemporaryAllocation(byteCount: 1, alignment: 1) { room throws(ArchiveError) in
            try run(LZMA_FINISH, UnsafeRawBufferPointer(start: nil, count: 0), room)
        }
        guard isEnded else { throw .invalid("the xz stream is truncated") }
    }

    /// - Returns: whether all streams are at their end, of which liblzma is sure only after `LZMA_FINISH`.
    @discardableResult
    private func run(
        _ action: lzma_action, _ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer
    ) throws(ArchiveError) -> Bool {
        stream.pointee.next_in = input.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_in = input.count
        stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_out = output.count
        while true {
            let result = lzma_code(stream, action)
            switch result {
            case LZMA_OK, LZMA_BUF_ERROR: return false
            case LZMA_STREAM_END: return true
            case LZMA_MEMLIMIT_ERROR: try allow(lzma_memusage(stream))
            case LZMA_MEM_ERROR: throw .noMemory
            case LZMA_FORMAT_ERROR: throw .invalid("garbage after the xz stream's end, or no xz stream")
            case LZMA_OPTIONS_ERROR: throw .invalid("the xz stream uses what this version of liblzma does not know")
            default: throw .invalid("the xz stream is corrupt")
            }
        }
    }

    private func allow(_ bytes: UInt64) throws(ArchiveError) {
        let mebibytes = bytes >> 20 + 1
        guard bytes <= maximumMemory else {
            throw .tooLarge(
                "the xz stream takes \(mebibytes) MiB to decompress, and at most \(maximumMemory >> 20) MiB are there "
                    + "for it: compress it with xz -9 or less")
        }
        guard reserve(Int(bytes)) else {
            throw ArchiveError(
                .noMemory,
                "the xz stream takes \(mebibytes) MiB to decompress, which are not there now: try again, or compress "
                    + "it with xz -6 or less")
        }
        guard lzma_memlimit_set(stream, bytes) == LZMA_OK else { throw .invalid("the xz stream is corrupt") }
    }
}

/// Decompresses bzip2 by libbz2: one or more streams.
struct Bzip2Decoder: ~Copyable {
    private struct State {
        var stream = bz_stream()
        var isInStream = false
        /// Streams that are complete.
        var streams = 0
    }

    /// How many bytes libbz2 holds for the largest blocks.
    private static let memory = 4 << 20

    private let state: UnsafeMutablePointer<State>

    init(reserve: Reservation) throws(ArchiveError) {
        guard reserve(Self.memory) else { throw .noMemory }
        state = .allocate(capacity: 1)
        state.initialize(to: State())
    }

    deinit {
        if state.pointee.isInStream { BZ2_bzDecompressEnd(&state.pointee.stream) }
        state.deallocate()
    }

    /// Whether nothing but another stream can follow.
    var isBetweenMembers: Bool { state.pointee.streams > 0 && !state.pointee.isInStream }

    /// Decompresses up to a stream's end at most.
    func step(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(ArchiveError) -> Decompressor.Step {
        if !state.pointee.isInStream {
            guard !input.isEmpty else { return Decompressor.Step() }
            guard BZ2_bzDecompressInit(&state.pointee.stream, 0, 0) == BZ_OK else { throw .noMemory }
            state.pointee.isInStream = true
        }
        // libbz2 counts in 32 bits.
        let (available, room) = (min(input.count, 1 << 30), min(output.count, 1 << 30))
        state.pointee.stream.next_in = UnsafeMutablePointer(
            mutating: input.baseAddress?.assumingMemoryBound(to: CChar.self))
        state.pointee.stream.avail_in = UInt32(available)
        state.pointee.stream.next_out = output.baseAddress?.assumingMemoryBound(to: CChar.self)
        state.pointee.stream.avail_out = UInt32(room)
        switch BZ2_bzDecompress(&state.pointee.stream) {
        case BZ_OK: break
        case BZ_STREAM_END:
            BZ2_bzDecompressEnd(&state.pointee.stream)
            state.pointee.isInStream = false
            state.pointee.streams += 1
        case BZ_MEM_ERROR: throw .noMemory
        case BZ_DATA_ERROR_MAGIC: throw .invalid("garbage after the bzip2 stream's end, or no bzip2 stream")
        default: throw .invalid("the bzip2 stream is corrupt")
        }
        return Decompressor.Step(
            consumed: available - Int(state.pointee.stream.avail_in),
            produced: room - Int(state.pointee.stream.avail_out))
    }

    func finish() throws(ArchiveError) {
        guard !state.pointee.isInStream else { throw .invalid("the bzip2 stream is truncated") }
    }
}
