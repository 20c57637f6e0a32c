import Archive

/// The entries and whiteouts that a layer needs to turn one tree into another.
struct TreeChanges {
    /// A name that is gone, and the directory of the new tree in which it was.
    struct Gone {
        let directory: FileTree.NodeID
        let name: [UInt8]
    }

    /// Directories that get an entry, each before what lies in it, siblings in the order of their bytes.
    private(set) var directories: [FileTree.NodeID] = []
    /// The names that need a whiteout, by directory, each directory's in the order of their bytes.
    private(set) var gone: [FileTree.NodeID: [Gone]] = [:]
    /// The files that are written whole, with all of their names; the first one in the tree's order gets the content.
    private(set) var files: [FileTree.FileID: [FileTree.NodeID]] = [:]
    /// How many names are new or changed. Directories that are written only because of what lies in them do not count.
    private(set) var changedNames = 0
    /// How many whiteouts there are.
    private(set) var goneNames = 0

    private let old: FileTree
    private let new: FileTree
    private let times: DeltaTimes
    /// For each file of the new tree, which file its names belonged to in the old one.
    private var origins: [Origin]
    /// For each name of the new tree, whether the layer has an entry for it.
    private var isSaid: [Bool]

    private enum Origin {
        case unseen
        /// All names seen so far belonged to this file of the old tree, which has not changed.
        case file(FileTree.FileID)
        case changed
    }

    /// How many bytes the comparison takes at most: for each name of the new tree a mark and places in lists and
    /// tables, for each name of the old tree a whiteout.
    static func cost(from old: FileTree, to new: FileTree) -> Int { 128 * (old.nodes.count + new.nodes.count) }

    init(from old: FileTree, to new: FileTree, times: DeltaTimes) {
        self.old = old
        self.new = new
        self.times = times
        origins = [Origin](repeating: .unseen, count: new.files.count)
        isSaid = [Bool](repeating: false, count: new.nodes.count)
        compare()
        separate()
        collect()
    }

    /// Walks through both trees side by side: finds what is gone, and where each name of the new tree comes from.
    private mutating func compare() {
        var pairs: [(old: FileTree.NodeID?, new: FileTree.NodeID)] = [(FileTree.root, FileTree.root)]
        while let pair = pairs.popLast() {
            let olds = pair.old.map { old.children($0) } ?? []
            let news = new.children(pair.new)
            var (left, right) = (0, 0)
            var found: [(old: FileTree.NodeID?, new: FileTree.NodeID)] = []
            while left < olds.count || right < news.count {
                switch order(left < olds.count ? olds[left] : nil, right < news.count ? news[right] : nil) {
                case .onlyOld:
                    gone[pair.new, default: []].append(
                        Gone(directory: pair.new, name: Array(old.component(olds[left]))))
                    goneNames += 1
                    say(pair.new)
                    left += 1
                case .onlyNew:
                    found.append((nil, news[right]))
                    right += 1
                case .both:
                    found.append((olds[left], news[right]))
                    left += 1
                    right += 1
                }
            }
            for (before, node) in found { note(before, node) }
            pairs += found.reversed().compactMap { before, node in
                guard new.file(node).kind == .directory else { return nil }
                let wasDirectory = before.map { old.file($0).kind == .directory } ?? false
                return (wasDirectory ? before : nil, node)
            }
        }
    }

    private enum Order { case onlyOld, onlyNew, both }

    private func order(_ left: FileTree.NodeID?, _ right: FileTree.NodeID?) -> Order {
        guard let left else { return .onlyNew }
        guard let right else { return .onlyOld }
        let (one, other) = (old.component(left), new.component(right))
        if one == other { return .both }
        return one.lexicographicallyPrecedes(other) ? .onlyOld : .onlyNew
    }

    /// Records what a name of the new tree belonged to in the old one; `before` is nil if it is new.
    private mutating func note(_ before: FileTree.NodeID?, _ node: FileTree.NodeID) {
        let id = new.fileID(node)
        let same = before.flatMap { old.file($0).isSame(as: new.files[id], times: times) ? old.fileID($0) : nil }
        if new.files[id].kind == .directory {
            if same == nil {
                say(node)
                changedNames += 1
            }
            return
        }
        switch (origins[id], same) {
        case (.unseen, let same?): origins[id] = .file(same)
        case (.file(let first), let same) where first == same: break
        default: origins[id] = .changed
        }
    }

    /// Where names of one old file belong to several files now, only the file that comes first in the new tree stays as
    /// it is; the others are written anew.
    private mutating func separate() {
        var seen = Set<FileTree.FileID>()
        var taken = Set<FileTree.FileID>()
        var separated: [FileTree.FileID] = []
        new.forEachNode { node in
            let id = new.fileID(node)
            guard case .file(let origin) = origins[id], seen.insert(id).inserted else { return }
            if !taken.insert(origin).inserted { separated.append(id) }
        }
        for id in separated { origins[id] = .changed }
    }

    /// Collects all names of files that changed, and the directories that get an entry.
    private mutating func collect() {
        var changed: [FileTree.NodeID] = []
        new.forEachNode { node in
            if case .changed = origins[new.fileID(node)] { changed.append(node) }
        }
        for node in changed {
            files[new.fileID(node), default: []].append(node)
            say(node)
        }
        changedNames += changed.count
        var directories: [FileTree.NodeID] = []
        new.forEachNode { if isSaid[$0], new.file($0).kind == .directory { directories.append($0) } }
        self.directories = directories
    }

    /// Gives a name and every directory above it an entry in the layer: a reader that creates the directories of a
    /// layer would otherwise have to guess their owners and modes.
    private mutating func say(_ node: FileTree.NodeID) {
        var next = node
        while next != FileTree.root, !isSaid[next] {
            isSaid[next] = true
            next = new.parent(next)
        }
    }
}

/// The differences of two trees, found name by name. It shares no code with `TreeChanges`, which it is to check.
public struct TreeDifferences: Sendable, Hashable {
    /// How many differences are described.
    public static let maximumTold = 20
    /// How many bytes a name takes besides its own: in the list, while it is sorted, and in tables.
    private static let nameBytes = 160

    /// The first differences in the order of the names, as `NAME: DIFFERENCE`, printable.
    public private(set) var told: [String] = []
    public private(set) var count = 0

    public var isEmpty: Bool { count == 0 }

    /// - Parameters:
    ///   - found: the tree that is checked.
    ///   - wanted: the tree that it should be equal to.
    ///   - directory: only what lies below it is compared. Where a tree does not have the directory, nothing does.
    /// - Throws: `.noMemory` if there is not enough memory for the whole names of both trees.
    init(
        _ found: FileTree, from wanted: FileTree, below directory: [UInt8] = [], times: DeltaTimes
    ) throws(ConversionError) {
        let memory = wanted.memory.another()
        defer { withExtendedLifetime(memory) {} }
        let (names, others) = (
            try Self.names(found, directory, memory), try Self.names(wanted, directory, memory)
        )
        var partners: [FileTree.FileID: FileTree.FileID] = [:]
        var owners: [FileTree.FileID: FileTree.FileID] = [:]
        var (left, right) = (0, 0)
        while left < names.count || right < others.count {
            if right == others.count || (left < names.count && names[left].path.precedes(others[right].path)) {
                add(names[left].path, "it should not be there")
                left += 1
            } else if left == names.count || others[right].path.precedes(names[left].path) {
                add(others[right].path, "it is missing")
                right += 1
            } else {
                let (one, other) = (names[left].file, others[right].file)
                if let difference = Self.difference(found.files[one], wanted.files[other], times) {
                    add(names[left].path, difference)
                } else if partners[one, default: other] != other || owners[other, default: one] != one {
                    add(names[left].path, "it is linked to other names")
                }
                partners[one] = other
                owners[other] = one
                left += 1
                right += 1
            }
        }
    }

    private static func names(
        _ tree: FileTree, _ directory: [UInt8], _ memory: ArchiveMemory.Share
    ) throws(ConversionError) -> [(path: [UInt8], file: FileTree.FileID)] {
        guard let directory = tree.find(directory) else { return [] }
        var names: [(path: [UInt8], file: FileTree.FileID)] = []
        for node in tree.subtree(directory).dropFirst() {
            let path = tree.path(node)
            try memory.take(path.count + Self.nameBytes)
            names.append((path, tree.fileID(node)))
        }
        return names.sorted { $0.path.precedes($1.path) }
    }

    private static func difference(_ one: FileRecord, _ other: FileRecord, _ times: DeltaTimes) -> String? {
        if one.kind != other.kind { return "it is a \(one.kind) and should be a \(other.kind)" }
        if one.kind != .symbolicLink, one.mode != other.mode {
            return "its mode is \(String(one.mode, radix: 8)) and should be \(String(other.mode, radix: 8))"
        }
        if (one.userID, one.groupID) != (other.userID, other.groupID) {
            return "its owner is \(one.userID):\(one.groupID) and should be \(other.userID):\(other.groupID)"
        }
        if one.size != other.size { return "its size is \(one.size) and should be \(other.size)" }
        if one.content != other.content {
            return one.kind == .symbolicLink ? "it leads to somewhere else" : "its content differs"
        }
        if one.records != other.records { return "its extended attributes differ" }
        if times == .compared, one.modified != other.modified {
            return "its time is \(one.modified.seconds) and should be \(other.modified.seconds)"
        }
        return nil
    }

    private mutating func add(_ path: [UInt8], _ difference: String) {
        count += 1
        if told.count < Self.maximumTold { told.append("\(printableName(path)): \(difference)") }
    }
}

extension [UInt8] {
    fileprivate func precedes(_ other: [UInt8]) -> Bool { lexicographicallyPrecedes(other) }
}
