import Archive
public import OCI

/// One layer as it is put over a tree: OCI image specification, layer.md, "Applying Changesets".
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
    /// The file whose content comes.
    private(set) var open: FileTree.FileID?

    /// - Parameter tree: what the layers below made. In the lowest one there is nothing to hide.
    init(over tree: consuming FileTree, limits: ConversionLimits, nodes: FileTree.Nodes) {
        layer = UInt16(tree.layers)
        self.tree = tree
        maximumEntries = limits.entries
        maximumBytes = limits.outputBytes
        self.nodes = nodes
    }

    /// The tree with the layer.
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
            // The root belongs to the container: no layer says anything about it.
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

    /// Puts a file of its own at a name.
    private mutating func put(_ file: FileRecord, _ node: FileTree.NodeID, _ entry: TarEntry) throws(ConversionError) {
        if file.kind == .directory, tree.isLive(node), tree.file(node).kind == .directory {
            guard tree.nodes[node].layer < layer || tree.nodes[node].isImplied else { throw repeated(entry) }
        } else {
            try clear(node, for: entry)
        }
        tree.set(node, to: tree.add(file), layer: layer)
    }

    /// Makes room for an entry that replaces whatever is there.
    private mutating func clear(_ node: FileTree.NodeID, for entry: TarEntry) throws(ConversionError) {
        guard tree.isLive(node) else { return }
        guard tree.nodes[node].layer < layer || tree.nodes[node].isImplied else { throw repeated(entry) }
        tree.hide(node, below: layer)
        guard !tree.isLive(node) else {
            throw invalid("is no directory, but something of its layer lies below it", entry)
        }
    }

    /// The directory of that name, made if there is none.
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

    /// `.wh..wh..opq`: the directory has nothing from the layers below.
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

    /// The digest of the layer's tar, which is checked when all of it is read; nil: nothing is promised.
    var diffID: Digest? { get }

    /// The layer as it is stored (tar, gzip or zstd) in chunks of any size.
    func bytes() -> Bytes
}

extension FileTree {
    /// The most layers of a chain.
    static let maximumLayers = 127

    /// Reads the tree that a chain of layers makes, whiteouts applied: each layer once, contents hashed as they go by.
    ///
    /// - Parameters:
    ///   - layers: bottom up.
    ///   - limits: for each of the layers; names and contents of all of them together count too.
    /// - Throws: `ConversionError` for a layer that is broken, against the rules (Layers.docc, "Deltas") or
    ///   over a limit; `CancellationError`; what a source throws.
    public init(reading layers: [some LayerSource], limits: ConversionLimits = ConversionLimits()) async throws {
        try await self.init(reading: layers, limits: limits, nodes: .refused)
    }

    /// What becomes of devices and fifos.
    enum Nodes: Sendable {
        case refused
        case kept
    }

    init(reading layers: [some LayerSource], limits: ConversionLimits, nodes: Nodes) async throws {
        self.init(memory: ArchiveMemory.Share(of: limits.memory))
        for layer in layers { try await add(layer, limits: limits, nodes: nodes) }
    }

    /// Puts one more layer on top.
    mutating func add<Source: LayerSource>(
        _ layer: Source, limits: ConversionLimits, nodes: Nodes = .refused
    ) async throws {
        guard layers < Self.maximumLayers else {
            throw ConversionError(.tooLarge, "more than \(Self.maximumLayers) layers")
        }
        var scan = try LayerScan(layer, limits: limits, memory: memory.another())
        var application = LayerApplication(over: self, limits: limits, nodes: nodes)
        // Else the index would be copied with the first change.
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
