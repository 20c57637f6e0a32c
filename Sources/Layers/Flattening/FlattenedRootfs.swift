import Archive
import OCI

/// Converts an image's layers into the one layer of a root filesystem, under the same rules as a tar.
///
/// A single layer is converted as it is. Of several, the tree that they make is found first (whiteouts and opaque
/// directories applied). It is then written as one archive, in which every file comes whole with all of its names,
/// while the conversion reads that archive: nothing is unpacked. Devices stay in it, so that the rootfs' rules drop and
/// note them.
/// - Parameters:
///   - layers: bottom up; each must have the diffID that it promises.
///   - settings: its limits hold for each layer, for what the layers have together, and for the result.
/// - Throws: as `convertRootfs`, and for layers against the rules (Layers.docc, "Flattening").
public func convertRootfs<Source: LayerSource, Sink: LayerSink>(
    layers: [Source], settings: LayerSettings = LayerSettings(), watch: RootfsWatch = RootfsWatch(), sink: Sink
) async throws -> ConvertedRootfs<Sink.Writer.Stored> {
    if layers.count == 1 {
        return try await convertRootfs(
            LayerTar(layer: layers[0], limits: settings.limits), settings: settings.forPlainTar, watch: watch,
            sink: sink)
    }
    let plan = try DeltaPlan(
        from: FileTree(), to: try await FileTree(reading: layers, limits: settings.limits, nodes: .kept),
        settings: DeltaSettings(compression: .none, limits: settings.limits))
    let pipe = LayerPipe()
    return try await withThrowingTaskGroup(of: ConvertedRootfs<Sink.Writer.Stored>?.self) { group in
        group.addTask {
            _ = try await plan.write(reading: layers, to: pipe)
            return nil
        }
        group.addTask {
            do {
                return try await convertRootfs(pipe, settings: settings.forPlainTar, watch: watch, sink: sink)
            } catch {
                pipe.stop()
                throw error
            }
        }
        var converted: ConvertedRootfs<Sink.Writer.Stored>?
        var failure: (any Error)?
        while let outcome = await group.nextResult() {
            switch outcome {
            case .success(let result): converted = result ?? converted
            case .failure(let error):
                // `Lost` only says that the other task has stopped; the other task's error is the reason.
                if failure == nil || failure is LayerPipe.Lost { failure = error }
                group.cancelAll()
            }
        }
        if let failure { throw failure }
        guard let converted else { throw ConversionError(.invalid, "the layers gave no root filesystem") }
        return converted
    }
}

extension LayerPipe {
    typealias Lost = AsyncQueue<[UInt8]?>.Closed
}

extension LayerSettings {
    /// These settings for a tar whose compressed size and ratio have been checked where it was decompressed.
    fileprivate var forPlainTar: LayerSettings {
        var settings = self
        settings.limits.ratio = .max
        settings.limits.inputBytes = .max
        return settings
    }
}

/// A pipe: one task writes it as a layer while another reads it as an archive. It holds only a few blocks.
final class LayerPipe: LayerSink, LayerWriter, AsyncSequence {
    typealias Element = [UInt8]
    private static let blocksUnderWay = 4

    private let filled = AsyncQueue<[UInt8]?>()
    private let room = AsyncQueue<Void>()

    init() {
        for _ in 0..<Self.blocksUnderWay { room.put(()) }
    }

    func begin() async throws -> LayerPipe { self }

    func write(_ bytes: [UInt8]) async throws {
        try await room.take()
        filled.put(bytes)
    }

    func finish(digest: Digest, size: Int64) async throws { filled.put(nil) }

    func abort() async { filled.close() }

    /// Makes the writer fail, because the reader takes no more blocks.
    func stop() { room.close() }

    func makeAsyncIterator() -> Iterator { Iterator(pipe: self) }

    struct Iterator: AsyncIteratorProtocol {
        let pipe: LayerPipe

        func next() async throws -> [UInt8]? {
            let bytes = try await pipe.filled.take()
            pipe.room.put(())
            return bytes
        }
    }
}

/// A stored layer's decompressed tar. Reading it to its end throws unless it has the diffID that was promised.
struct LayerTar<Source: LayerSource>: AsyncSequence, Sendable {
    typealias Element = [UInt8]

    let layer: Source
    let limits: ConversionLimits

    func makeAsyncIterator() -> Iterator { Iterator(layer, limits) }

    /// A class, because its source can't be copied. It is passed on like any iterator, and never shared.
    final class Iterator: AsyncIteratorProtocol {
        private static var chunk: Int { 256 << 10 }

        private var source: ArchiveSource<Source.Bytes>
        private var hasher: DigestHasher?
        private let diffID: Digest?
        private var isOver = false

        init(_ layer: Source, _ limits: ConversionLimits) {
            source = ArchiveSource(layer.bytes(), limits: limits, memory: ArchiveMemory.Share(of: limits.memory))
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
