public import Archive
import OCI

/// How a delta is made. The same settings and trees, stored in the same layers, give the same bytes.
public struct DeltaSettings: Sendable, Hashable {
    public var compression: CompressionFormat
    public var times: DeltaTimes
    /// Paths, as a tar names them, that an image's layers above the rootfs have or hide: the delta has no entry for
    /// them nor for anything below them.
    public var covered: [String]
    /// Limits that hold for each layer that is read.
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

/// A delta layer that the sink has stored, and how many names it changes.
public struct WrittenDelta<Stored: Sendable>: Sendable {
    public let layer: ConvertedLayer<Stored>
    /// How many names are new or changed.
    public let changed: Int
    /// How many names are gone; what lay below them is not counted.
    public let gone: Int
}

/// Turns one file tree into another by one more layer (OCI image specification, layer.md, "Change Types").
///
/// The layer has each new or changed file whole, with all of its names and every directory above it, and an explicit
/// whiteout for each name that is gone. It has no opaque whiteouts, since readers treat them differently. Memory holds
/// the two indexes and a few blocks, never contents.
public struct DeltaPlan: Sendable {
    private let old: FileTree
    private let new: FileTree
    private let changes: TreeChanges
    private let settings: DeltaSettings

    /// - Throws: `ConversionError` if the trees differ below a covered path, or if something above such a path is no
    ///   directory: the delta could not say so. `.noMemory` if the comparison finds no memory.
    public init(from old: FileTree, to new: FileTree, settings: DeltaSettings) throws(ConversionError) {
        var (old, new) = (old, new)
        let covered = settings.covered.map { Array($0.utf8) }
        for path in covered {
            let differences = try TreeDifferences(new, from: old, below: path, times: settings.times)
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
        try new.memory.take(TreeChanges.cost(from: old, to: new))
        changes = TreeChanges(from: old, to: new, times: settings.times)
    }

    /// How many names are new or changed.
    public var changed: Int { changes.changedNames }
    /// How many names are gone; what lay below them is not counted.
    public var gone: Int { changes.goneNames }

    /// Reads the new tree's layers once more, as far as their contents are needed, and writes the delta.
    ///
    /// - Parameters:
    ///   - layers: those that the new tree was read from.
    ///   - sink: its writer is aborted if anything fails.
    /// - Throws: `ConversionError`, also if the layers have changed since the tree was read; what a source or the sink
    ///   throws.
    public func write<Sink: LayerSink>(
        reading layers: [some LayerSource], to sink: Sink
    ) async throws -> WrittenDelta<Sink.Writer.Stored> {
        let memory = new.memory.another()
        try memory.take(ConversionCost.layer(settings.compression))
        let writer = try DeltaWriter(settings, try await sink.begin())
        do {
            try await writer.write(changes, of: new, reading: layers, limits: settings.limits)
            return WrittenDelta(layer: try await writer.finish(), changed: changed, gone: gone)
        } catch {
            await writer.abort()
            throw error
        }
    }

    /// Applies a written delta to the old tree, as a reader of images would, and compares the result with the new tree.
    ///
    /// - Returns: the differences; unless there are none, the delta must not be used.
    /// - Throws: `ConversionError` for a delta that is no layer; what the source throws.
    public func differences(applying delta: some LayerSource) async throws -> TreeDifferences {
        var applied = try old.copy()
        try await applied.add(delta, limits: settings.limits)
        return try TreeDifferences(applied, from: new, times: settings.times)
    }
}

/// Writes a delta's tar: first directories and whiteouts in the order of their names, then files and links in the order
/// in which the new tree's layers have their contents, each followed by its other names.
final class DeltaWriter<Writer: LayerWriter> {
    private let encoder: LayerEncoder<Writer>
    private var output = LayerOutput(group: .rest)
    private var hasher = DigestHasher(.sha256)

    init(_ settings: DeltaSettings, _ writer: Writer) throws {
        encoder = LayerEncoder(settings.compression, try Compressor(settings.compression), writer)
        output.give([UInt8](repeating: 0, count: LayerOutput.blockSize))
    }

    func write(
        _ changes: TreeChanges, of tree: FileTree, reading layers: [some LayerSource], limits: ConversionLimits
    ) async throws {
        try await writeGone(changes.gone[FileTree.root], [])
        for directory in changes.directories {
            let path = tree.path(directory)
            try await write(header(tree.file(directory), path + [EntryName.slash]))
            try await writeGone(changes.gone[directory], path + [EntryName.slash])
        }
        var wanted = [[UInt32: FileTree.FileID]](repeating: [:], count: layers.count)
        for file in changes.files.keys {
            let record = tree.files[file]
            guard Int(record.layer) < layers.count else { throw changed }
            wanted[Int(record.layer)][record.entry] = file
        }
        for (layer, wanted) in zip(layers, wanted) where !wanted.isEmpty {
            try await write(wanted, of: layer, changes, tree, limits)
        }
    }

    func finish() async throws -> ConvertedLayer<Writer.Stored> {
        try await write([UInt8](repeating: 0, count: TarWriter.endLength)[...])
        let total = output.total
        let (block, count) = output.take()
        block.withUnsafeBytes { hasher.update(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        try await encoder.write(try encoder.compress(block, count: count, isLast: true))
        return try await encoder.finish(.rest, diffID: hasher.finish(), total: total)
    }

    func abort() async { await encoder.abort() }

    private func writeGone(_ gone: [TreeChanges.Gone]?, _ directory: [UInt8]) async throws {
        for gone in gone ?? [] {
            var bytes: [UInt8] = []
            TarWriter.append(
                TarEntry(
                    kind: .file, name: directory + EntryName.whiteout + gone.name, mode: 0o644,
                    modified: TarTime(seconds: 0)), to: &bytes)
            try await write(bytes[...])
        }
    }

    /// Writes the wanted entries of one layer; `wanted` has them by their index in the layer.
    private func write<Source: LayerSource>(
        _ wanted: [UInt32: FileTree.FileID], of layer: Source, _ changes: TreeChanges, _ tree: FileTree,
        _ limits: ConversionLimits
    ) async throws {
        var scan = try LayerScan(layer, limits: limits, memory: ArchiveMemory.Share(of: limits.memory))
        var index: UInt32 = 0
        var left = wanted.count
        var current: FileTree.FileID?
        var missing: Int64 = 0
        while left > 0 {
            switch try await scan.next() {
            case .entry(let entry):
                guard current == nil else { throw changed }
                current = wanted[index]
                index += 1
                if let current {
                    missing = try await begin(entry, tree.files[current], changes.files[current] ?? [], tree)
                }
            case .content(let range):
                guard current != nil else { continue }
                try await write(scan.window[range])
                missing -= Int64(range.count)
            case .hole(let length):
                guard current != nil else { continue }
                try await writeZeros(length)
                missing -= length
            case .end: throw changed
            }
            if let file = current, missing == 0 {
                try await end(tree.files[file], changes.files[file] ?? [], tree)
                current = nil
                left -= 1
            }
        }
    }

    /// Writes the header of a wanted file's first name.
    ///
    /// - Returns: how many bytes of content follow.
    /// - Throws: `ConversionError` if the entry is not the one that the tree was made from.
    private func begin(
        _ entry: TarEntry, _ file: FileRecord, _ names: [FileTree.NodeID], _ tree: FileTree
    ) async throws -> Int64 {
        guard let name = names.first else { throw changed }
        switch (file.kind, entry.kind) {
        case (.file, .file): guard file.size == entry.size else { throw changed }
        case (.symbolicLink, .symbolicLink):
            guard file.content == ContentDigest(of: entry.linkName) else { throw changed }
        case (.node, .characterDevice), (.node, .blockDevice), (.node, .fifo): break
        default: throw changed
        }
        try await write(header(file, tree.path(name), linkName: entry.linkName))
        return file.size
    }

    /// Writes what follows a file's content: padding, then a hard link for each of its other names.
    private func end(_ file: FileRecord, _ names: [FileTree.NodeID], _ tree: FileTree) async throws {
        try await writeZeros(Int64(TarWriter.padding(file.size)))
        guard let target = names.first.map({ tree.path($0) }) else { return }
        for name in names.dropFirst() {
            try await write(header(file, tree.path(name), hardLink: true, linkName: target))
        }
    }

    private func header(
        _ file: FileRecord, _ name: [UInt8], hardLink: Bool = false, linkName: [UInt8] = []
    ) -> ArraySlice<UInt8> {
        let kind: TarEntry.Kind =
            switch file.kind {
            case _ where hardLink: .hardLink
            case .file: .file
            case .directory: .directory
            case .symbolicLink: .symbolicLink
            // Which kind it is makes no difference: only flattening keeps nodes in a tree, and it drops them later.
            case .node: .fifo
            }
        var bytes: [UInt8] = []
        TarWriter.append(
            TarEntry(
                kind: kind, name: name, linkName: linkName, mode: UInt32(file.mode), userID: file.userID,
                groupID: file.groupID, modified: file.modified, size: kind == .file ? file.size : 0,
                records: file.records ?? []), to: &bytes)
        return bytes[...]
    }

    private func writeZeros(_ count: Int64) async throws {
        var left = count
        while left > 0 {
            left -= output.appendZeros(left)
            try await flush()
        }
    }

    private func write(_ bytes: ArraySlice<UInt8>) async throws {
        var rest = bytes
        while !rest.isEmpty {
            rest = rest.dropFirst(output.append(rest.span))
            try await flush()
        }
    }

    /// Hashes, compresses and hands on the block if it is full.
    private func flush() async throws {
        guard output.isFull else { return }
        let (block, count) = output.take()
        block.withUnsafeBytes { hasher.update($0) }
        try await encoder.write(try encoder.compress(block, count: count, isLast: false))
        output.give(block)
    }

    private var changed: ConversionError {
        ConversionError(.invalid, "the new tree's layers are not what they were")
    }
}
