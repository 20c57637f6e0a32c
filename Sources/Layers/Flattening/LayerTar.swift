internal import Archive
internal import OCI

/// A stored layer's tar, decompressed, which ends well only if it has the diffID that was promised.
struct LayerTar<Source: LayerSource>: AsyncSequence, Sendable {
    typealias Element = [UInt8]

    let layer: Source
    let limits: ConversionLimits

    func makeAsyncIterator() -> Iterator { Iterator(layer, limits) }

    /// Handed on like any iterator, and never shared.
    final class Iterator: AsyncIteratorProtocol {
        private static var chunk: Int { 256 << 10 }

        private var source: ArchiveSource<Source.Bytes>
        private var hasher: DigestHasher?
        private let diffID: Digest?
        private var isOver = false

        init(_ layer: Source, _ limits: ConversionLimits) {
            source = ArchiveSource(layer.bytes(), limits: limits)
            diffID = layer.diffID
            hasher = layer.diffID.map { DigestHasher($0.algorithm) }
        }

        /// - Throws: `ConversionError`, `CancellationError`, what the source throws.
        func next() async throws -> [UInt8]? {
            guard !isOver else { return nil }
            var window = [UInt8](repeating: 0, count: Self.chunk)
            let count = try await source.fill(&window, from: 0)
            try source.checkRatio(written: 0)
            window.removeLast(window.count - count)
            window.withUnsafeBytes { hasher?.update($0) }
            if count < Self.chunk {
                isOver = true
                guard hasher?.finish() == diffID else {
                    throw ConversionError(.invalid, "the layer's tar does not have its diffID")
                }
            }
            return window
        }
    }
}
