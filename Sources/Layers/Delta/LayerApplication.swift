import Archive
public import OCI

/// Applies one layer to a tree, entry by entry: OCI image specification, layer.md, "Applying Changesets".
///
/// A whiteout hides what the layers below have, wherever in its own layer it stands. Where readers of images differ
/// (a link into another layer, an entry below a symbolic link, a name that comes twice) the layer is refused.
struct LayerApplication {
    private let layer: UInt16
    private let maximumEntries: Int
    private let maximumBytes: Int64
    private let nodes: FileTree.Nodes
    private(set) var tree: FileTree
    private var index: UInt32 = 0
    /// The file whose content comes next; nil if none is expected.
    private(set) var open: FileTree.FileID?

    /// - Parameter tree: what the layers below made. The lowest layer may have no whiteouts, since there is nothing to
    ///   hide.
    init(over tree: consuming FileTree, limits: ConversionLimits, nodes: FileTree.Nodes) {
        layer = UInt16(tree.layers)
        self.tree = tree
        maximumEntries = limits.entries
        maximumBytes = limits.outputBytes
        self.nodes = nodes
    }

    /// Ends the layer. - Returns: the tree with the layer applied.
    consuming func finish() -> FileTree {
        tree.layers += 1
        return tree
    }

    mutating func setContent(_ digest: ContentDigest) {
        if let open { tree.update(open) { $0.content = digest } }
        open = nil
    }

    mutating func apply(_ entry: TarEntry) throws(ConversionError) {
        open = nil
        let index = index
        guard index < maximumEntries else {
            throw ConversionError(.tooLarge, "more than \(maximumEntries) entries", entry: entry.name)
        }
        self.index += 1
        let path = try clean(entry.name, of: entry)
        try tree.reserve(entry)
        guard entry.size <= maximumBytes - tree.contentBytes else {
            throw ConversionError(.tooLarge, "the layers are larger than allowed", entry: entry.name)
        }
        tree.contentBytes += entry.size
        guard tree.nodes.count <= maximumEntries else {
            throw ConversionError(.tooLarge, "more than \(maximumEntries) names", entry: entry.name)
        }
        guard
            let last = path.lastIndex(of: EntryName.slash).map({ path[($0 + 1)...] })
                ?? (path.isEmpty ? nil : path[...])
        else {
            guard entry.kind == .directory else { throw invalid("the root is no directory", entry) }
            // The container runtime makes the root directory, so the tree has no record of it.
            return
        }
        if last.starts(with: EntryName.whiteout) {
            try hide(last.dropFirst(EntryName.whiteout.count), in: EntryName.parent(path), entry)
            return
        }
        let node = tree.place(try directory(EntryName.parent(path), entry), last)
        switch entry.kind {
        case .directory: try put(FileRecord(entry, .directory, layer: layer, index: index), node, entry)
        case .file:
            try put(FileRecord(entry, .file, layer: layer, index: index), node, entry)
            open = tree.fileID(node)
            if entry.size == 0 { setContent(Self.nothing) }
        case .symbolicLink:
            var link = FileRecord(entry, .symbolicLink, layer: layer, index: index)
            link.content = ContentDigest(of: entry.linkName)
            try put(link, node, entry)
        case .hardLink:
            let target = try clean(entry.linkName, of: entry)
            guard let found = tree.find(target), found != node, tree.nodes[found].layer == layer,
                tree.file(found).kind != .directory
            else {
                throw invalid(
                    "a hard link to '\(printableName(target))', which does not stand before it in its layer", entry)
            }
            try clear(node, for: entry)
            tree.set(node, to: tree.fileID(found), layer: layer)
        case .characterDevice, .blockDevice, .fifo:
            guard nodes == .kept else { throw invalid("a device or fifo", entry) }
            try put(FileRecord(entry, .node, layer: layer, index: index), node, entry)
        }
    }

    private static let nothing = ContentDigest(of: [])

    private func clean(_ name: [UInt8], of entry: TarEntry) throws(ConversionError) -> [UInt8] {
        do { return try EntryName.clean(name, whiteouts: .kept) } catch { throw invalid(error.reason, entry) }
    }

    /// Makes a name belong to a new file; a directory keeps what lies in it, anything else is replaced.
    ///
    /// - Throws: `ConversionError` if this layer has had the name already, or has something below what is no directory.
    private mutating func put(_ file: FileRecord, _ node: FileTree.NodeID, _ entry: TarEntry) throws(ConversionError) {
        if file.kind == .directory, tree.isLive(node), tree.file(node).kind == .directory {
            guard tree.nodes[node].layer < layer || tree.nodes[node].isImplied else { throw repeated(entry) }
        } else {
            try clear(node, for: entry)
        }
        tree.set(node, to: tree.add(file), layer: layer)
    }

    /// Removes what layers below have at a name, for an entry that replaces it.
    ///
    /// - Throws: `ConversionError` if this layer has had the name already, or has something below it.
    private mutating func clear(_ node: FileTree.NodeID, for entry: TarEntry) throws(ConversionError) {
        guard tree.isLive(node) else { return }
        guard tree.nodes[node].layer < layer || tree.nodes[node].isImplied else { throw repeated(entry) }
        tree.hide(node, below: layer)
        guard !tree.isLive(node) else {
            throw invalid("is no directory, but something of its layer lies below it", entry)
        }
    }

    /// The node of a directory; it and its parents are implied if they are missing.
    ///
    /// - Throws: `ConversionError` if one of them is no directory.
    private mutating func directory(
        _ path: ArraySlice<UInt8>, _ entry: TarEntry
    ) throws(ConversionError) -> FileTree.NodeID {
        var node = FileTree.root
        for component in path.split(separator: EntryName.slash) {
            let next = tree.place(node, component)
            if !tree.isLive(next) {
                tree.imply(next, layer: layer)
            } else if tree.file(next).kind != .directory {
                throw invalid("lies below '\(printableName(tree.path(next)))', which is no directory", entry)
            }
            node = next
        }
        return node
    }

    private mutating func hide(
        _ name: ArraySlice<UInt8>, in path: ArraySlice<UInt8>, _ entry: TarEntry
    ) throws(ConversionError) {
        guard layer > 0 else { throw invalid(EntryName.Fault.whiteout.reason, entry) }
        guard entry.kind == .file, entry.size == 0 else { throw invalid("a whiteout that is no empty file", entry) }
        let isOpaque = name.elementsEqual(Self.opaque)
        guard
            isOpaque
                || !(name.isEmpty || name.elementsEqual([dot]) || name.elementsEqual([dot, dot])
                    || name.starts(with: EntryName.whiteout))
        else { throw invalid("a whiteout that is not one of OCI's", entry) }
        var directory = FileTree.root
        for component in path.split(separator: EntryName.slash) {
            guard let next = tree.child(directory, component) else { return }
            directory = next
        }
        if isOpaque {
            for child in tree.children(directory) { tree.hide(child, below: layer) }
        } else if let node = tree.child(directory, name) {
            tree.hide(node, below: layer)
        }
    }

    /// The rest of `.wh..wh..opq` after `.wh.`: an opaque whiteout, which hides all that layers below have in a
    /// directory.
    private static let opaque = Array(".wh..opq".utf8)
    private let dot = UInt8(ascii: ".")

    private func repeated(_ entry: TarEntry) -> ConversionError { invalid("the name stands in its layer twice", entry) }

    private func invalid(_ reason: String, _ entry: TarEntry) -> ConversionError {
        ConversionError(.invalid, reason, entry: entry.name)
    }
}

/// A stored layer that can be read from its beginning as often as wanted.
public protocol LayerSource: Sendable {
    associatedtype Bytes: AsyncSequence & Sendable where Bytes.Element == [UInt8]

    /// The promised digest of the layer's tar, checked when all of it has been read; nil: nothing is checked.
    var diffID: Digest? { get }

    /// The layer as it is stored (tar, gzip or zstd) in chunks of any size.
    func bytes() -> Bytes
}

extension FileTree {
    /// How many layers one tree may be made of.
    static let maximumLayers = 127

    /// Reads the tree that a chain of layers makes, whiteouts applied: each layer once, contents hashed as they go by.
    ///
    /// - Parameters:
    ///   - layers: bottom up.
    ///   - limits: for each of the layers; those on entries and on output also hold for the names and contents of all
    ///     layers together.
    /// - Throws: `ConversionError` for a layer that is broken, against the rules (Layers.docc, "Deltas") or
    ///   over a limit; `CancellationError`; what a source throws.
    public init(reading layers: [some LayerSource], limits: ConversionLimits = ConversionLimits()) async throws {
        try await self.init(reading: layers, limits: limits, nodes: .refused)
    }

    /// How devices and fifos are treated.
    enum Nodes: Sendable {
        case refused
        case kept
    }

    init(reading layers: [some LayerSource], limits: ConversionLimits, nodes: Nodes) async throws {
        self.init(memory: ArchiveMemory.Share(of: limits.memory))
        for layer in layers { try await add(layer, limits: limits, nodes: nodes) }
    }

    /// Applies one more layer. If that throws, the tree is left empty.
    mutating func add<Source: LayerSource>(
        _ layer: Source, limits: ConversionLimits, nodes: Nodes = .refused
    ) async throws {
        guard layers < Self.maximumLayers else {
            throw ConversionError(.tooLarge, "more than \(Self.maximumLayers) layers")
        }
        var scan = try LayerScan(layer, limits: limits, memory: memory.another())
        var application = LayerApplication(over: self, limits: limits, nodes: nodes)
        // Releases this reference to the index, which the application's first change would otherwise copy.
        self = FileTree()
        var hasher = DigestHasher(.sha256)
        var left: Int64 = 0
        reading: while true {
            switch try await scan.next() {
            case .entry(let entry):
                try application.apply(entry)
                left = application.open == nil ? 0 : entry.size
                hasher = DigestHasher(.sha256)
            case .content(let range):
                scan.window.withUnsafeBytes { hasher.update(UnsafeRawBufferPointer(rebasing: $0[range])) }
                left -= Int64(range.count)
            case .hole(let length):
                hasher.update(zeros: length)
                left -= length
            case .end: break reading
            }
            if left == 0, application.open != nil { application.setContent(ContentDigest(hasher)) }
        }
        self = application.finish()
    }
}

extension DigestHasher {
    fileprivate mutating func update(zeros count: Int64) {
        let zeros = [UInt8](repeating: 0, count: Int(min(count, 1 << 16)))
        var left = count
        while left > 0 {
            let part = Int(min(left, Int64(zeros.count)))
            zeros.withUnsafeBytes { update(UnsafeRawBufferPointer(rebasing: $0[..<part])) }
            left -= Int64(part)
        }
    }
}
