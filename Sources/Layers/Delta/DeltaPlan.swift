public import Archive

/// How a delta is made. The same settings and trees, stored in the same layers, give the same bytes.
public struct DeltaSettings: Sendable, Hashable {
    public var compression: CompressionFormat
    public var times: DeltaTimes
    /// Paths, as in a tar, that layers above have or hide: nothing is said about them, nor about what lies below them.
    public var covered: [String]
    /// For each layer that is read.
    public var limits: ConversionLimits

    public init(
        compression: CompressionFormat = .gzip, times: DeltaTimes = .compared, covered: [String] = [],
        limits: ConversionLimits = ConversionLimits()
    ) {
        self.compression = compression
        self.times = times
        self.covered = covered
        self.limits = limits
    }
}

/// A layer that the sink has stored, and what it says.
public struct WrittenDelta<Stored: Sendable>: Sendable {
    public let layer: ConvertedLayer<Stored>
    /// Names that are new or other than before.
    public let changed: Int
    /// Names that are gone; what lay below them is not counted.
    public let gone: Int
}

/// Turns one file tree into another by one more layer (OCI image specification, layer.md, "Change Types").
///
/// The layer has what is new or changed whole, with every name that a file has and every directory above it, and an
/// explicit whiteout for what is gone; no opaque ones, which readers treat differently. Memory holds the two indexes
/// and a few blocks, never contents.
public struct DeltaPlan: Sendable {
    private let old: FileTree
    private let new: FileTree
    private let changes: TreeChanges
    private let settings: DeltaSettings

    /// - Throws: `ConversionError` if no layer above those that cover some paths could do it.
    public init(from old: FileTree, to new: FileTree, settings: DeltaSettings) throws(ConversionError) {
        var (old, new) = (old, new)
        let covered = settings.covered.map { Array($0.utf8) }
        for path in covered {
            let differences = TreeDifferences(new, from: old, below: path, times: settings.times)
            guard differences.isEmpty else {
                throw ConversionError(
                    .invalid, "differs, and layers above cover it: \(differences.told.first ?? "")", entry: path)
            }
        }
        try old.cover(covered)
        try new.cover(covered)
        self.old = old
        self.new = new
        self.settings = settings
        changes = TreeChanges(from: old, to: new, times: settings.times)
    }

    /// Names that are new or other than before.
    public var changed: Int { changes.changedNames }
    /// Names that are gone; what lay below them is not counted.
    public var gone: Int { changes.goneNames }

    /// Reads the new tree's layers once more, as far as their contents are needed, and writes the delta.
    ///
    /// - Parameters:
    ///   - layers: those that the new tree was read from.
    ///   - sink: its writer is aborted if anything fails.
    /// - Throws: `ConversionError`, also if the layers are not what they were; what a source or the sink throws.
    public func write<Sink: LayerSink>(
        reading layers: [some LayerSource], to sink: Sink
    ) async throws -> WrittenDelta<Sink.Writer.Stored> {
        let writer = try DeltaWriter(settings, try await sink.begin())
        do {
            try await writer.write(changes, of: new, reading: layers, limits: settings.limits)
            return WrittenDelta(layer: try await writer.finish(), changed: changed, gone: gone)
        } catch {
            await writer.abort()
            throw error
        }
    }

    /// Puts a written delta over the old tree, as a reader of images would, and looks for differences from the new one.
    ///
    /// - Returns: nothing different, or the delta must not be used.
    /// - Throws: `ConversionError` for a delta that is no layer; what the source throws.
    public func differences(applying delta: some LayerSource) async throws -> TreeDifferences {
        var applied = old
        try await applied.add(delta, limits: settings.limits)
        return TreeDifferences(applied, from: new, times: settings.times)
    }
}
