/// Goes through the tree's objects in the byte order of their keys, and reads only the directories that are needed.
///
/// A directory's children are compared with a `/` behind directories' names, as in whole keys: `a-b/x` comes before
/// `a/x`. Of each directory on the way at most `chunk` children are in memory; the rest is read again later.
struct TreeWalker {
    private struct Level {
        /// The directory's path below `objects`: `""`, or ending with `/`.
        let path: [UInt8]
        /// The children still to be visited, in reverse: the next one is last.
        var children: [[UInt8]]
        /// The child after which the next chunk begins; nil if this is the last chunk.
        var more: [UInt8]?
    }

    private let children: Children
    private let prefix: [UInt8]
    private let startAfter: [UInt8]?
    private let chunk: Int
    private var levels: [Level] = []

    /// Gives selected children of a directory below `objects`, in order, and whether these are all that there are.
    typealias Children = (_ path: String, ChildSelection) throws(FileSystemError) -> (
        names: [[UInt8]], isComplete: Bool
    )

    init(
        prefix: String, startAfter: String?, chunk: Int, children: @escaping Children
    ) throws(FileSystemError) {
        self.children = children
        self.prefix = Array(prefix.utf8)
        self.startAfter = startAfter.map { Array($0.utf8) }
        self.chunk = chunk
        let folder = self.prefix.prefix(through: (self.prefix.lastIndex(of: UInt8(ascii: "/")) ?? -1))
        // A prefix with which no key can begin finds nothing, and must not become a path.
        if folder.isEmpty || (try? ObjectKey(String(decoding: folder.dropLast(), as: UTF8.self))) != nil {
            try enter(Array(folder), after: nil)
        }
    }

    /// The next object's key; nil at the end.
    mutating func next() throws(FileSystemError) -> ObjectKey? {
        while let last = levels.indices.last {
            // Changed in place: a copy of the level would copy all of its children.
            guard let child = levels[last].children.popLast() else {
                let level = levels.removeLast()
                if let more = level.more { try enter(level.path, after: more) }
                continue
            }
            let path = levels[last].path + child
            if child.last == UInt8(ascii: "/") {
                try enter(path, after: nil)
            } else if let text = String(validating: path, as: UTF8.self), let key = try? ObjectKey(text) {
                return key
            }
        }
        return nil
    }

    private mutating func enter(_ path: [UInt8], after: [UInt8]?) throws(FileSystemError) {
        guard
            let selection = ChildSelection(
                path, prefix: prefix, startAfter: startAfter, after: after, limit: chunk)
        else { return levels.append(Level(path: path, children: [], more: nil)) }
        let (names, isComplete): (names: [[UInt8]], isComplete: Bool)
        do {
            (names, isComplete) = try children(String(decoding: path, as: UTF8.self), selection)
        } catch let error where error.isMissing {
            return
        }
        levels.append(Level(path: path, children: names.reversed(), more: isComplete ? nil : names.last))
    }
}

/// Selects the next children of a directory that may be, or lead to, wanted objects.
struct ChildSelection {
    /// How many children are wanted.
    let limit: Int
    /// The part of the prefix that lies below the directory.
    private let prefix: ArraySlice<UInt8>
    /// The part of `startAfter` that lies below the directory; nil if all children come after it.
    private let startAfter: ArraySlice<UInt8>?
    /// The child after which this selection begins; nil for the first one.
    private let after: [UInt8]?

    /// nil if no child of the directory can be wanted.
    init?(_ path: [UInt8], prefix: [UInt8], startAfter: [UInt8]?, after: [UInt8]?, limit: Int) {
        self.after = after
        self.limit = limit
        if prefix.starts(with: path) {
            self.prefix = prefix[path.count...]
        } else {
            guard path.starts(with: prefix) else { return nil }
            self.prefix = []
        }
        if let startAfter, startAfter.starts(with: path) {
            self.startAfter = startAfter[path.count...]
        } else {
            if let startAfter, path.lexicographicallyPrecedes(startAfter) { return nil }
            self.startAfter = nil
        }
    }

    /// Whether children before the wanted ones were listed already.
    var isContinued: Bool { after != nil || startAfter.map { !$0.isEmpty } ?? false }

    /// No wanted child is before this text.
    var lowest: ArraySlice<UInt8> {
        var lowest = Self.component(prefix)
        for other in [after?[...], startAfter.map(Self.component)] {
            if let other, lowest.lexicographicallyPrecedes(other) { lowest = other }
        }
        return lowest
    }

    /// The first component of a text, with the `/` behind it.
    private static func component(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        text.firstIndex(of: UInt8(ascii: "/")).map { text[...$0] } ?? text
    }

    func wants(_ child: ChildName) -> Bool {
        guard after.map({ child.isAfter($0) }) ?? true,
            child.starts(with: prefix) || child.isFolder && child.begins(prefix)
        else { return false }
        guard let startAfter else { return true }
        return child.isAfter(startAfter) || child.isFolder && child.begins(startAfter)
    }

    /// Whether neither this child nor a later one is wanted.
    func isPast(_ child: ChildName) -> Bool { !child.starts(with: prefix) && child.isAfter(prefix) }
}
