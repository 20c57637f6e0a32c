public import Archive
internal import OCI

/// What an archive has, piece by piece.
public enum ArchivePart: Sendable {
    case entry(TarEntry)
    /// Bytes of the last entry's content.
    case content([UInt8])
    /// So many zeros of it, which are not stored.
    case hole(Int64)
}

/// Reads a tar archive (plain, gzip or zstd) in one pass, a few hundred KB at a time, without looking at what it is for.
///
/// - Parameter limits: of the input, its ratio and its headers; entries and sizes are the caller's to bound.
/// - Throws: `ConversionError` for what is no tar, or broken; `CancellationError`; what the source or the body throws.
public func readArchive<Bytes: AsyncSequence & Sendable>(
    _ bytes: Bytes, limits: ConversionLimits, _ body: (ArchivePart) async throws -> Void
) async throws where Bytes.Element == [UInt8] {
    var scan = LayerScan(OnePass(once: bytes), limits: limits)
    while true {
        switch try await scan.next() {
        case .entry(let entry): try await body(.entry(entry))
        case .content(let range): try await body(.content(Array(scan.window[range])))
        case .hole(let length): try await body(.hole(length))
        case .end: return
        }
    }
}

/// A sequence that can be read once, as a layer that is.
private struct OnePass<Bytes: AsyncSequence & Sendable>: LayerSource where Bytes.Element == [UInt8] {
    let once: Bytes
    var diffID: Digest? { nil }

    func bytes() -> Bytes { once }
}
