/// Decompresses a stream whose format it finds out from the first bytes.
///
/// Feed it until it neither consumes nor produces anything, then call `finish`.
public struct Decompressor: ~Copyable {
    /// What one step took and gave.
    public struct Step: Sendable {
        public var consumed = 0
        public var produced = 0
    }

    // Not private: the optimiser of Swift 6.3 then loses its metadata for other modules.
    enum Decoder: ~Copyable {
        case plain
        case gzip(GzipDecoder)
        case zstd(ZstdDecoder)
    }

    private var decoder = Decoder.plain
    private var magic: [UInt8] = []
    private let maximumWindow: Int

    /// - Parameter maximumWindow: bytes of history that a zstd stream may ask for; a gzip stream has 32 KiB.
    public init(maximumWindow: Int = 8 << 20) {
        self.maximumWindow = maximumWindow
    }

    /// The stream's format, once enough of it was seen.
    public private(set) var format: CompressionFormat?

    /// Takes from `input` and fills `output` as far as either goes.
    ///
    /// With an empty `input` it gives what is still held back inside.
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

    /// Says that the input has ended. Call `step` with an empty input until it gives nothing, then this again.
    ///
    /// - Throws: `ArchiveError` if the stream is not complete.
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
        case .zstd: decoder = .zstd(try ZstdDecoder(maximumWindow: maximumWindow))
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
