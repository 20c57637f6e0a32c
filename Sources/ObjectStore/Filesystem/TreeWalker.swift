/// The objects of the tree in the byte order of their keys, reading only the directories that are needed.
///
/// A directory's children are compared with a `/` behind directories' names, as in whole keys: `a-b/x` comes before
/// `a/x`. Of each directory on the way at most `chunk` children are in memory; the rest is read again later.
struct TreeWalker {
    private struct Level {
        /// Of the directory, `""` or ending with `/`.
        let path: [UInt8]
        /// Children to come, the next one last.
        var children: [[UInt8]]
        /// The child after which the next chunk begins; nil if there is none.
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
        // Only beginnings of keys are looked for: nothing else may become a path.
        if folder.isEmpty || (try? ObjectKey(String(decoding: folder.dropLast(), as: UTF8.self))) != nil {
            try enter(Array(folder), after: nil)
        }
    }

    /// The next object's key.
    mutating func next() throws(FileSystemError) -> ObjectKey? {
        while let level = levels.last {
            guard let child = level.children.last else {
                levels.removeLast()
                if let more = level.more { try enter(level.path, after: more) }
                continue
            }
            levels[levels.count - 1].children.removeLast()
            let path = level.path + child
            if child.last == UInt8(ascii: "/") {
                try enter(path, after: nil)
            } else if let text = String(validating: path, as: UTF8.self), let key = try? ObjectKey(text) {
                return key
            }
        }
        return nil
    }

    private mutating func enter(_ path: [UInt8], after: [UInt8]?) throws(FileSystemError) {
        var children = SmallestNames(limit: chunk)
        let (prefix, startAfter) = (prefix, startAfter)
        do {
            try read(StorePaths.objects + "/" + String(decoding: path, as: UTF8.self)) { (name, kind) in
                var child = [UInt8](name)
                switch kind {
                case .file: break
                case .directory: child.append(UInt8(ascii: "/"))
                case .foreign: return
                }
                if let after, !after.lexicographicallyPrecedes(child) { return }
                guard children.wouldTake(child), Self.mayHold(path + child, prefix, startAfter) else { return }
                children.insert(child)
            }
        } catch let error where error.isMissing {
            return
        }
        let (names, isComplete) = children.sorted()
        levels.append(Level(path: path, children: names.reversed(), more: isComplete ? nil : names.last))
    }

    /// Whether a key, or a folder's path that ends with `/`, may be or lead to something that is looked for.
    private static func mayHold(_ path: [UInt8], _ prefix: [UInt8], _ startAfter: [UInt8]?) -> Bool {
        let isFolder = path.last == UInt8(ascii: "/")
        guard path.starts(with: prefix) || isFolder && prefix.starts(with: path) else { return false }
        guard let startAfter else { return true }
        return startAfter.lexicographicallyPrecedes(path) || isFolder && startAfter.starts(with: path)
    }
}

/// The smallest names of many, in bounded memory.
struct SmallestNames {
    private let limit: Int
    private var names: [[UInt8]] = []
    /// Nothing from this name on is wanted.
    private var bound: [UInt8]?

    init(limit: Int) { self.limit = max(1, limit) }

    func wouldTake(_ name: [UInt8]) -> Bool { bound.map { name.lexicographicallyPrecedes($0) } ?? true }

    mutating func insert(_ name: [UInt8]) {
        names.append(name)
        if names.count > 2 * limit { shrink() }
    }

    private mutating func shrink() {
        names.sort { $0.lexicographicallyPrecedes($1) }
        bound = names[limit]
        names.removeSubrange(limit...)
    }

    /// - Returns: At most `limit` names, and whether these are all.
    consuming func sorted() -> (names: [[UInt8]], isComplete: Bool) {
        if names.count > limit { shrink() }
        names.sort { $0.lexicographicallyPrecedes($1) }
        return (names, bound == nil)
    }
}
