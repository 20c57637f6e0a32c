import CZstd

/// Decompresses a stream whose format it finds out from the first bytes.
///
/// Feed it until it neither consumes nor produces anything, then call `finish`.
public struct Decompressor: ~Copyable {
    /// How many bytes one step took from the input and wrote to the output.
    public struct Step: Sendable {
        public var consumed = 0
        public var produced = 0
    }

    // Not private, because the optimizer of Swift 6.3 then drops the type's metadata, which other modules need.
    enum Decoder: ~Copyable {
        case plain
        case gzip(GzipDecoder)
        case zstd(ZstdDecoder)
    }

    /// How many bytes libzstd's decoder holds besides its window.
    private static let zstdTables = 512 << 10

    private var decoder = Decoder.plain
    private var magic: [UInt8] = []
    private let maximumWindow: Int
    private let reserve: Reservation

    /// - Parameters:
    ///   - maximumWindow: bytes of history that a zstd stream may ask for; a gzip stream has 32 KiB.
    ///   - reserve: asked for the window and tables of a zstd stream, once the format is known to be zstd.
    public init(maximumWindow: Int = 8 << 20, reserve: @escaping Reservation = { _ in true }) {
        self.maximumWindow = maximumWindow
        self.reserve = reserve
    }

    /// The stream's format, once enough of it was seen.
    public private(set) var format: CompressionFormat?

    /// Decompresses from `input` into `output` until one of them is used up.
    ///
    /// With an empty `input` it writes the output that the decoder still holds back.
    /// - Throws: `ArchiveError` for a broken stream, and for bytes after its end that do not begin another member.
    public mutating func step(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(ArchiveError) -> Step {
        if format == nil {
            guard magic.count + input.count >= CompressionFormat.magicLength else {
                magic.append(contentsOf: input)
                return Step(consumed: input.count)
            }
            try begin(with: input)
        }
        if !magic.isEmpty {
            let held = magic
            let step = try held.withUnsafeBufferPointer { bytes throws(ArchiveError) in
                try decode(UnsafeRawBufferPointer(bytes), into: output)
            }
            magic.removeFirst(step.consumed)
            guard magic.isEmpty, step.produced == 0 else { return Step(consumed: 0, produced: step.produced) }
        }
        return try decode(input, into: output)
    }

    /// Says that the input has ended. Before that, call `step` with an empty input until it produces nothing.
    ///
    /// - Throws: `ArchiveError` if the stream is not complete, or shorter than `CompressionFormat.magicLength`.
    public mutating func finish() throws(ArchiveError) {
        guard format != nil else { throw .invalid("the stream ends within its first bytes") }
        switch decoder {
        case .gzip(let gzip): try gzip.finish()
        case .zstd(let zstd): try zstd.finish()
        case .plain: return
        }
    }

    private mutating func begin(with input: UnsafeRawBufferPointer) throws(ArchiveError) {
        let found = CompressionFormat(detecting: magic + input.prefix(CompressionFormat.magicLength))
        switch found {
        case .none: decoder = .plain
        case .gzip: decoder = .gzip(GzipDecoder())
        case .zstd:
            guard reserve(maximumWindow + Self.zstdTables) else { throw .noMemory }
            decoder = .zstd(try ZstdDecoder(maximumWindow: maximumWindow))
        }
        format = found
    }

    private mutating func decode(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(ArchiveError) -> Step {
        switch decoder {
        case .gzip(let gzip): return try gzip.step(input, into: output)
        case .zstd(let zstd): return try zstd.step(input, into: output)
        case .plain:
            let count = min(input.count, output.count)
            output.copyMemory(from: UnsafeRawBufferPointer(rebasing: input.prefix(count)))
            return Step(consumed: count, produced: count)
        }
    }
}

/// How a stream is compressed.
public enum CompressionFormat: Hashable, Sendable, CaseIterable {
    case none
    /// RFC 1952.
    case gzip
    /// RFC 8878.
    case zstd

    /// How many of a stream's first bytes `init(detecting:)` looks at.
    public static let magicLength = 4

    /// Looks at a stream's first bytes. What is neither gzip nor zstd counts as not compressed.
    ///
    /// - Parameter prefix: the first `magicLength` bytes, or all of a shorter stream.
    public init(detecting prefix: some Sequence<UInt8>) {
        let magic = Array(prefix.prefix(Self.magicLength))
        if magic.starts(with: [0x1f, 0x8b]) {
            self = .gzip
        } else if magic == [0x28, 0xb5, 0x2f, 0xfd] || (magic.count == 4 && Self.isSkippableFrame(magic)) {
            self = .zstd
        } else {
            self = .none
        }
    }

    private static func isSkippableFrame(_ magic: [UInt8]) -> Bool {
        magic[0] & 0xf0 == 0x50 && magic[1...] == [0x2a, 0x4d, 0x18]
    }
}

extension CompressionFormat {
    /// The format's name in settings and records.
    public var name: String {
        switch self {
        case .none: "none"
        case .gzip: "gzip"
        case .zstd: "zstd"
        }
    }

    public init?(name: String) {
        guard let format = [CompressionFormat.none, .gzip, .zstd].first(where: { $0.name == name }) else { return nil }
        self = format
    }
}

/// Decompresses zstd (RFC 8878): one or more frames, skippable frames, with a bound on the history window.
struct ZstdDecoder: ~Copyable {
    private let context: OpaquePointer
    /// What `ZSTD_decompressStream` returned last: 0 if the last frame is complete.
    private let expected: UnsafeMutablePointer<Int>

    init(maximumWindow: Int) throws(ArchiveError) {
        guard let context = ZSTD_createDCtx() else { throw .noMemory }
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
