import Archive
public import OCI

/// Where converted layers go. This module knows no store: its caller decides where bytes are kept.
public protocol LayerSink: Sendable {
    associatedtype Writer: LayerWriter
    /// Begins a layer's bytes.
    func begin() async throws -> Writer
}

/// One layer being written. Exactly one of `finish` and `abort` ends it.
public protocol LayerWriter: Sendable {
    /// The sink's own handle of the stored bytes.
    associatedtype Stored: Sendable

    /// Appends bytes. The conversion waits for it, and so goes on at the sink's pace.
    func write(_ bytes: [UInt8]) async throws
    /// Ends the layer and keeps it.
    ///
    /// - Parameters:
    ///   - digest: the digest of all bytes written.
    ///   - size: the number of bytes written.
    func finish(digest: Digest, size: Int64) async throws -> Stored
    func abort() async
}

/// Collects one layer's tar in blocks of a fixed size.
struct LayerOutput {
    /// A multiple of `Compressor.pieceSize`, so that the compressor cuts every tar alike however it was written.
    static let blockSize = 4 * Compressor.pieceSize

    let group: LayerGroup
    /// The block that is being filled; empty while the output has none.
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

    /// Appends as many of the bytes as fit into the block.
    ///
    /// - Returns: how many were appended.
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

    /// Appends as many of the wanted zeros as fit into the block.
    ///
    /// - Returns: how many were appended.
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

    /// Compresses the tar's next block; only the last one may be cut short, to `count` bytes.
    func compress(_ block: [UInt8], count: Int, isLast: Bool) throws -> [UInt8] {
        let output = try block.withUnsafeBytes { bytes in
            try compressor.compress(UnsafeRawBufferPointer(rebasing: bytes[..<count]), isLast: isLast)
        }
        // Without compression the digest is the diffID, which the caller computes anyway.
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
