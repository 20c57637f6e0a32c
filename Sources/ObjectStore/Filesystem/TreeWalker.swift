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

    private let files: any FileSystem
    private let read: (String, (UnsafeRawBufferPointer, EntryKind) -> Void) throws(FileSystemError) -> Void
    private let prefix: [UInt8]
    private let startAfter: [UInt8]?
    private let chunk: Int
    private var levels: [Level] = []

    /// - Parameter read: reads one directory of the store.
    init(
        _ files: any FileSystem, prefix: String, startAfter: String?, chunk: Int,
        read: @escaping (String, (UnsafeRawBufferPointer, EntryKind) -> Void) throws(FileSystemError) -> Void
    ) throws(FileSystemError) {
        self.files = files
        self.read = read
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
        guard let filter = ChildFilter(path, prefix: prefix, startAfter: startAfter) else {
            return levels.append(Level(path: path, children: [], more: nil))
        }
        var children = SmallestNames(limit: chunk)
        do {
            try read(StorePaths.objects + "/" + String(decoding: path, as: UTF8.self)) { (bytes, kind) in
                if kind == .foreign { return }
                // A large directory may have many names for each wanted one: nothing is allocated for the unwanted
                // ones.
                let child = ChildName(bytes, isFolder: kind == .directory)
                if after.map({ child.isAfter($0) }) ?? true, children.wouldTake(child), filter.wants(child) {
                    children.insert(child)
                }
            }
        } catch let error where error.isMissing {
            return
        }
        let (names, isComplete) = children.sorted()
        levels.append(Level(path: path, children: names.reversed(), more: isComplete ? nil : names.last))
    }
}

/// Selects the children of a directory that may be, or lead to, wanted objects.
private struct ChildFilter {
    /// The part of the prefix that lies below the directory.
    private let prefix: ArraySlice<UInt8>
    /// The part of `startAfter` that lies below the directory; nil if all children come after it.
    private let startAfter: ArraySlice<UInt8>?

    /// nil if no child of the directory can be wanted.
    init?(_ path: [UInt8], prefix: [UInt8], startAfter: [UInt8]?) {
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

    func wants(_ child: ChildName) -> Bool {
        guard child.starts(with: prefix) || child.isFolder && child.begins(prefix) else { return false }
        guard let startAfter else { return true }
        return child.isAfter(startAfter) || child.isFolder && child.begins(startAfter)
    }
}
