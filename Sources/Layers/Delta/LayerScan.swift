import Archive
import OCI

/// Reads a stored layer from its beginning, entry by entry, one window of 256 KiB at a time.
struct LayerScan<Source: LayerSource>: ~Copyable {
    enum Event {
        case entry(TarEntry)
        /// The bytes in this range of `window` are content of the last entry.
        case content(Range<Int>)
        /// So many zeros, which the tar does not store, are content of the last entry.
        case hole(Int64)
        case end
    }

    private(set) var window = [UInt8](repeating: 0, count: 256 << 10)
    private var source: ArchiveSource<Source.Bytes>
    private var reader: TarReader
    private var hasher: DigestHasher?
    private let diffID: Digest?
    private var filled = 0
    private var position = 0
    private var isRead = false
    private var holes: Int64 = 0
    private let maximumHoles: Int64

    /// - Parameter memory: the share from which the scan takes its memory.
    /// - Throws: `.noMemory` if the share has not enough left.
    init(_ layer: Source, limits: ConversionLimits, memory: ArchiveMemory.Share) throws(ConversionError) {
        try memory.take(ConversionCost.reading)
        source = ArchiveSource(layer.bytes(), limits: limits, memory: memory)
        reader = TarReader(limits: limits.reader, reserve: memory.reservation())
        maximumHoles = limits.holeBytes
        diffID = layer.diffID
        hasher = layer.diffID.map { DigestHasher($0.algorithm) }
    }

    /// - Throws: `ConversionError` if the layer is no tar, goes over a limit or has another diffID than promised;
    ///   `CancellationError`; what the source throws.
    mutating func next() async throws -> Event {
        while true {
            switch try step() {
            case .needsInput:
                guard isRead else {
                    try await fill()
                    continue
                }
                do { try reader.finish() } catch { throw ConversionError(error) }
                guard hasher?.finish() == diffID else {
                    throw ConversionError(.invalid, "the layer's tar does not have its diffID")
                }
                return .end
            case .entry(let entry): return .entry(entry)
            case .content(let count):
                let range = position..<position + count
                position += count
                return .content(range)
            case .hole(let length):
                guard length <= maximumHoles - holes else {
                    throw ConversionError(.tooLarge, "the holes of sparse files are too large")
                }
                holes += length
                let (written, overflow) = source.archiveBytes.addingReportingOverflow(holes)
                try source.checkRatio(written: overflow ? .max : written)
                return .hole(length)
            }
        }
    }

    private mutating func step() throws(ConversionError) -> TarReader.Event {
        var consumed = 0
        let window = window
        do {
            let event = try reader.next(window.span.extracting(position..<filled), consumed: &consumed)
            position += consumed
            return event
        } catch { throw ConversionError(error) }
    }

    private mutating func fill() async throws {
        let kept = filled - position
        for index in 0..<kept { window[index] = window[position + index] }
        position = 0
        filled = try await source.fill(&window, from: kept)
        isRead = filled < window.count
        try source.checkRatio(written: 0)
        window.withUnsafeBytes { hasher?.update(UnsafeRawBufferPointer(rebasing: $0[kept..<filled])) }
    }
}
