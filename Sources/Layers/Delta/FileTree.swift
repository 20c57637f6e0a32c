import Archive

/// The index of a file tree: its names and the files that they belong to, without the contents.
///
/// A name costs 36 bytes and those of its last component, a file about 100, in arrays that grow by doubling: at least
/// twice as much memory is taken for the names. A name that is gone keeps its node, for the case that it comes again.
public struct FileTree: Sendable {
    typealias NodeID = Int
    typealias FileID = Int

    /// A name in a directory.
    struct Node: Sendable {
        fileprivate(set) var parent: UInt32
        fileprivate var firstChild: UInt32 = .max
        fileprivate var nextSibling: UInt32 = .max
        fileprivate var nameStart: UInt32
        fileprivate var nameLength: UInt16
        /// The last layer that set the name.
        var layer: UInt16
        /// The index in `files`; `.max` if the name is gone.
        fileprivate var fileIndex: UInt32 = .max
        fileprivate var liveChildren: UInt32 = 0
        /// Whether it is a directory without an entry, known only from names that lie in it.
        var isImplied = false
    }

    static let root: NodeID = 0

    private static let nodeBytes = 96
    private static let fileBytes = 200
    private static let recordBytes = 64
    /// Memory is taken in steps of this size, in bytes.
    private static let step = 64 << 10

    /// The tree's memory, given back when its last copy goes. Only `copy()` makes a tree with its own share.
    private(set) var memory: ArchiveMemory.Share
    private var taken = 0
    private var attributeBytes = 0
    private(set) var nodes: [Node]
    private(set) var files: [FileRecord]
    private var nameBytes: [UInt8] = []
    /// A hash table that finds nodes by parent and name: each slot has a node's index plus one, or 0 if it is free.
    private var slots: [UInt32]
    /// How many names there are, the root not counted.
    private(set) var count = 0
    /// How many layers it is made of.
    var layers = 0
    /// The sizes of all entries of these layers together, in bytes, also of those that a later layer replaces.
    var contentBytes: Int64 = 0

    init(memory: ArchiveMemory.Share = ArchiveMemory.Share(of: nil)) {
        self.memory = memory
        nodes = [Node(parent: .max, nameStart: 0, nameLength: 0, layer: 0)]
        files = [.plainDirectory(layer: 0)]
        slots = [UInt32](repeating: 0, count: 256)
        nodes[0].fileIndex = 0
        nodes[0].isImplied = true
        files[0].names = 1
    }

    // MARK: Reading

    func isLive(_ node: NodeID) -> Bool { nodes[node].fileIndex != .max }

    /// Which file a living name belongs to.
    func fileID(_ node: NodeID) -> FileID { Int(nodes[node].fileIndex) }

    func file(_ node: NodeID) -> FileRecord { files[fileID(node)] }

    func parent(_ node: NodeID) -> NodeID { Int(nodes[node].parent) }

    /// A name's last component.
    func component(_ node: NodeID) -> ArraySlice<UInt8> {
        let start = Int(nodes[node].nameStart)
        return nameBytes[start..<start + Int(nodes[node].nameLength)]
    }

    /// The whole path of a name, as a tar has it, without a slash at its end.
    func path(_ node: NodeID) -> [UInt8] {
        var components: [NodeID] = []
        var next = node
        while next != Self.root {
            components.append(next)
            next = parent(next)
        }
        var path: [UInt8] = []
        for component in components.reversed() {
            if !path.isEmpty { path.append(EntryName.slash) }
            path += self.component(component)
        }
        return path
    }

    /// The living node of a name in a directory; nil if there is none.
    func child(_ parent: NodeID, _ name: ArraySlice<UInt8>) -> NodeID? {
        guard let node = known(parent, name), isLive(node) else { return nil }
        return node
    }

    /// The living names in a directory, in the order of their bytes.
    func children(_ directory: NodeID) -> [NodeID] {
        var living: [NodeID] = []
        living.reserveCapacity(Int(nodes[directory].liveChildren))
        forEachChild(directory) { if isLive($0) { living.append($0) } }
        return living.sorted { component($0).lexicographicallyPrecedes(component($1)) }
    }

    /// Visits everything below a directory, not itself: parents before children, siblings in the order of their bytes.
    func forEachNode(below directory: NodeID = FileTree.root, _ body: (NodeID) -> Void) {
        var stack: [NodeID] = children(directory).reversed()
        while let node = stack.popLast() {
            body(node)
            if nodes[node].liveChildren > 0 { stack += children(node).reversed() }
        }
    }

    /// The living node of a path; nil if there is none.
    func find(_ path: [UInt8]) -> NodeID? {
        var node = Self.root
        for component in path.split(separator: EntryName.slash) {
            guard let next = child(node, component) else { return nil }
            node = next
        }
        return node
    }

    // MARK: Memory

    private var bytes: Int {
        nodes.count * Self.nodeBytes + 2 * nameBytes.count + files.count * Self.fileBytes + attributeBytes
    }

    private static func bytes(of records: [TarRecord]) -> Int {
        records.reduce(0) { $0 + $1.key.utf8.count + $1.value.count + recordBytes }
    }

    /// Takes the memory that an entry may need, before it is put into the tree.
    ///
    /// - Throws: `.noMemory` if there is not enough left.
    mutating func reserve(_ entry: TarEntry) throws(ConversionError) {
        let names = entry.name.count { $0 == EntryName.slash } + 1
        let wanted =
            bytes + names * (Self.nodeBytes + Self.fileBytes) + 2 * entry.name.count + Self.bytes(of: entry.records)
        guard wanted > taken else { return }
        let more = (wanted - taken + Self.step - 1) / Self.step * Self.step
        try memory.take(more)
        taken += more
    }

    /// A copy that has memory of its own, so that it can be changed.
    ///
    /// - Throws: `.noMemory` if there is not enough left.
    func copy() throws(ConversionError) -> FileTree {
        var copy = self
        copy.memory = memory.another()
        try copy.memory.take(taken)
        return copy
    }

    // MARK: Changing

    /// Makes a name belong to a file, whatever it belonged to before.
    mutating func set(_ node: NodeID, to file: FileID, layer: UInt16) {
        if isLive(node) {
            files[fileID(node)].names -= 1
        } else {
            nodes[parent(node)].liveChildren += 1
            count += 1
        }
        files[file].names += 1
        nodes[node].fileIndex = UInt32(file)
        nodes[node].layer = layer
        nodes[node].isImplied = false
    }

    mutating func add(_ file: FileRecord) -> FileID {
        attributeBytes += Self.bytes(of: file.records ?? [])
        files.append(file)
        return files.count - 1
    }

    /// Changes a file in place, under all of its names.
    mutating func update(_ file: FileID, _ change: (inout FileRecord) -> Void) { change(&files[file]) }

    /// Makes a name a directory without an entry of its own.
    mutating func imply(_ node: NodeID, layer: UInt16) {
        set(node, to: add(.plainDirectory(layer: layer)), layer: layer)
        nodes[node].isImplied = true
    }

    /// Removes a name and everything below it, as far as layers below the given one made it. What the layer itself has
    /// put there stays, and the directories above that become implied ones.
    mutating func hide(_ node: NodeID, below layer: UInt16) {
        for node in subtree(node).reversed() where nodes[node].layer < layer {
            if nodes[node].liveChildren > 0 { imply(node, layer: layer) } else { remove(node) }
        }
    }

    /// Removes a name and everything below it.
    mutating func removeAll(_ node: NodeID) {
        for node in subtree(node).reversed() { remove(node) }
    }

    private mutating func remove(_ node: NodeID) {
        guard isLive(node) else { return }
        files[fileID(node)].names -= 1
        nodes[node].fileIndex = .max
        nodes[parent(node)].liveChildren -= 1
        count -= 1
    }

    /// A living name and all living names below it, each before those below it.
    func subtree(_ node: NodeID) -> [NodeID] {
        var found = [node]
        var position = 0
        while position < found.count {
            if nodes[found[position]].liveChildren > 0 {
                forEachChild(found[position]) { if isLive($0) { found.append($0) } }
            }
            position += 1
        }
        return found
    }

    func hasChildren(_ node: NodeID) -> Bool { nodes[node].liveChildren > 0 }

    private func forEachChild(_ node: NodeID, _ body: (NodeID) -> Void) {
        var next = nodes[node].firstChild
        while next != .max {
            body(Int(next))
            next = nodes[Int(next)].nextSibling
        }
    }

    // MARK: Names

    /// The node of a name in a directory, living or gone; a new one, not living yet, if there never was one.
    mutating func place(_ parent: NodeID, _ name: ArraySlice<UInt8>) -> NodeID {
        if let node = known(parent, name) { return node }
        if nodes.count * 4 >= slots.count * 3 { grow() }
        let node = nodes.count
        nodes.append(
            Node(
                parent: UInt32(parent), nextSibling: nodes[parent].firstChild, nameStart: UInt32(nameBytes.count),
                nameLength: UInt16(name.count), layer: 0))
        nodes[parent].firstChild = UInt32(node)
        nameBytes += name
        slots[slot(parent, name)] = UInt32(node) + 1
        return node
    }

    private func known(_ parent: NodeID, _ name: ArraySlice<UInt8>) -> NodeID? {
        let found = slots[slot(parent, name)]
        return found == 0 ? nil : Int(found) - 1
    }

    /// The index of a name's slot or, if the table does not have it, of the free slot where it would go.
    private func slot(_ parent: NodeID, _ name: ArraySlice<UInt8>) -> Int {
        var hasher = Hasher()
        hasher.combine(parent)
        name.withUnsafeBytes { hasher.combine(bytes: $0) }
        var index = hasher.finalize() & (slots.count - 1)
        while slots[index] != 0 {
            let node = Int(slots[index]) - 1
            if nodes[node].parent == UInt32(parent), component(node) == name { break }
            index = (index + 1) & (slots.count - 1)
        }
        return index
    }

    private mutating func grow() {
        slots = [UInt32](repeating: 0, count: slots.count * 2)
        for node in nodes.indices.dropFirst() { slots[slot(parent(node), component(node))] = UInt32(node) + 1 }
    }
}

extension FileTree {
    /// Removes the paths that an image's layers above the rootfs have or hide.
    ///
    /// Those layers also have entries for the directories above these paths (0755, root's, of 1970, as in every layer
    /// that Cistern makes), so the tree gets the same ones.
    /// - Throws: `ConversionError` if something above a path is no directory.
    mutating func cover(_ paths: [[UInt8]]) throws(ConversionError) {
        for path in paths {
            var node = Self.root
            var components = path.split(separator: EntryName.slash)[...]
            while let component = components.popFirst(), let next = child(node, component) {
                if components.isEmpty {
                    removeAll(next)
                } else {
                    guard file(next).kind == .directory else {
                        throw ConversionError(
                            .invalid, "is no directory, but the images' own layers have something below it",
                            entry: self.path(next))
                    }
                    let layer = nodes[next].layer
                    set(next, to: add(.plainDirectory(layer: layer)), layer: layer)
                }
                node = next
            }
        }
    }
}
