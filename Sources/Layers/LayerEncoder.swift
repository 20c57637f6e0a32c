internal import Archive
internal import OCI

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
