/// Compresses a stream piece by piece; the same pieces give the same bytes.
///
/// gzip output also depends on how the stream is cut (ISA-L), so `compress` cuts what it gets into pieces of
/// `pieceSize`. Every call but the last must carry a multiple of that.
public struct Compressor: ~Copyable {
    /// 64 KiB: with ISA-L both faster and smaller than larger pieces.
    public static let pieceSize = 64 << 10

    // Not private: the optimiser of Swift 6.3 then loses its metadata for other modules.
    enum Encoder: ~Copyable {
        case gzip(GzipEncoder)
        case zstd(ZstdEncoder)
    }

    private var encoder: Encoder?

    public init(_ format: CompressionFormat) throws(ArchiveError) {
        switch format {
        case .none: encoder = nil
        case .gzip: encoder = .gzip(GzipEncoder())
        case .zstd: encoder = .zstd(try ZstdEncoder())
        }
    }

    /// Compresses the next bytes of the stream.
    ///
    /// - Parameters:
    ///   - bytes: a multiple of `pieceSize`, unless they are the last ones.
    ///   - isLast: whether the stream ends with them. Nothing may follow.
    /// - Returns: what of the compressed stream is ready; often nothing.
    public mutating func compress(
        _ bytes: UnsafeRawBufferPointer, isLast: Bool
    ) throws(ArchiveError) -> [UInt8] {
        guard isLast || bytes.count.isMultiple(of: Self.pieceSize) else {
            throw .invalid("a piece of \(bytes.count) bytes before the stream's end")
        }
        var output: [UInt8] = []
        var rest = bytes
        repeat {
            let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(Self.pieceSize))
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(Self.pieceSize))
            let ends = isLast && rest.isEmpty
            switch encoder {
            case .gzip(let gzip): try gzip.compress(piece, isLast: ends, into: &output)
            case .zstd(let zstd): try zstd.compress(piece, isLast: ends, into: &output)
            case nil: output.append(contentsOf: piece)
            }
        } while !rest.isEmpty
        return output
    }
}
