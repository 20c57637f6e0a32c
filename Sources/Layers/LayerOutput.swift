import Archive
public import OCI

/// Where converted layers go. Layers knows no store: whoever calls it says where bytes are kept.
public protocol LayerSink: Sendable {
    associatedtype Writer: LayerWriter
    /// Begins a layer's bytes.
    func begin() async throws -> Writer
}

/// One layer being written. Exactly one of `finish` and `abort` ends it.
public protocol LayerWriter: Sendable {
    /// Whatever the sink knows the stored bytes by.
    associatedtype Stored: Sendable

    /// Appends bytes, slowing the conversion down to what the sink takes.
    func write(_ bytes: [UInt8]) async throws
    /// - Parameters:
    ///   - digest: of all bytes written.
    ///   - size: their number.
    func finish(digest: Digest, size: Int64) async throws -> Stored
    func abort() async
}

/// One layer's tar on its way out, cut into blocks of a fixed size.
struct LayerOutput {
    /// A multiple of what the compressor wants, so that every layer is cut alike however it is fed.
    static let blockSize = 4 * Compressor.pieceSize

    let group: LayerGroup
    /// Empty while there is none.
    private var block: [UInt8] = []
    private(set) var filled = 0
    private(set) var total: Int64 = 0

    init(group: LayerGroup) {
        self.group = group
    }

    var wantsBlock: Bool { block.isEmpty }
    var isFull: Bool { !block.isEmpty && filled == block.count }

    mutating func give(_ block: consuming [UInt8]) {
        self.block = block
        filled = 0
    }

    /// Takes the block out, full or not.
    mutating func take() -> (bytes: [UInt8], count: Int) {
        var taken: [UInt8] = []
        swap(&taken, &block)
        defer { filled = 0 }
        return (taken, filled)
    }

    /// Appends as much as fits.
    ///
    /// - Returns: how much that was.
    mutating func append(_ bytes: Span<UInt8>) -> Int {
        let count = min(bytes.count, block.count - filled)
        let start = filled
        block.withUnsafeMutableBytes { target in
            bytes.extracting(0..<count).withUnsafeBytes { source in
                UnsafeMutableRawBufferPointer(rebasing: target[start..<start + count]).copyMemory(from: source)
            }
        }
        filled += count
        total += Int64(count)
        return count
    }

    /// Appends as many zeros as fit.
    mutating func appendZeros(_ wanted: Int64) -> Int64 {
        let count = Int(min(wanted, Int64(block.count - filled)))
        let start = filled
        block.withUnsafeMutableBytes { target in
            _ = UnsafeMutableRawBufferPointer(rebasing: target[start..<start + count])
                .initializeMemory(as: UInt8.self, repeating: 0)
        }
        filled += count
        total += Int64(count)
        return Int64(count)
    }
}

/// One layer on its way into the sink: compressed, hashed and written, block by block.
final class LayerEncoder<Writer: LayerWriter> {
    private let compression: CompressionFormat
    private let writer: Writer
    private var compressor: Compressor
    private var hasher = DigestHasher(.sha256)
    private var size: Int64 = 0

    init(_ compression: CompressionFormat, _ compressor: consuming Compressor, _ writer: Writer) {
        self.compression = compression
        self.compressor = compressor
        self.writer = writer
    }

    /// Compresses the next bytes of the tar: whole blocks, but for the last one.
    func compress(_ block: [UInt8], count: Int, isLast: Bool) throws -> [UInt8] {
        let output = try block.withUnsafeBytes { bytes in
            try compressor.compress(UnsafeRawBufferPointer(rebasing: bytes[..<count]), isLast: isLast)
        }
        // What is not compressed has its diffID for a digest.
        if compression != .none { hasher.update(output) }
        size += Int64(output.count)
        return output
    }

    func write(_ bytes: [UInt8]) async throws {
        if !bytes.isEmpty { try await writer.write(bytes) }
    }

    func finish(_ group: LayerGroup, diffID: Digest, total: Int64) async throws -> ConvertedLayer<Writer.Stored> {
        let digest = compression == .none ? diffID : hasher.finish()
        let stored = try await writer.finish(digest: digest, size: size)
        return ConvertedLayer(
            group: group, compression: compression, digest: digest, size: size, diffID: diffID,
            uncompressedSize: total, stored: stored)
    }

    func abort() async { await writer.abort() }
}
