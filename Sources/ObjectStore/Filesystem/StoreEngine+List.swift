import Runtime
import Synchronization

/// Listings: the tree, merged with the pending changes.
extension StoreEngine {
    private static let largestChunk = 8192

    /// Lists objects as `ObjectStore.list` does. Reads the disk: call it on a thread that may block.
    func list(prefix: String, startAfter: String?, limit: Int) throws(ObjectStoreError) -> [ObjectInfo] {
        guard limit > 0 else { return [] }
        // The pending changes are read before the tree: a change that leaves the overlay later is in the tree.
        let pending = try pendingChanges { key in
            key.hasBytePrefix(prefix) && startAfter.map { $0.isByteBefore(key) } ?? true
        }
        return try withStoreErrors { () throws(FileSystemError) in
            var infos: [ObjectInfo] = []
            var rest = pending.sorted { $0.key < $1.key }[...]
            var walker = try TreeWalker(
                prefix: prefix, startAfter: startAfter, chunk: min(limit, Self.largestChunk), children: children)
            var inTree = try walker.next()
            while infos.count < limit {
                if let (key, information) = rest.first, inTree.map({ key <= $0 }) ?? true {
                    if let information { infos.append(ObjectInfo(key: key, information)) }
                    rest.removeFirst()
                    if key == inTree { inTree = try walker.next() }
                } else if let key = inTree {
                    if case .file(let information) = try files.look(at: StorePaths.object(key)) {
                        infos.append(ObjectInfo(key: key, information))
                    }
                    inTree = try walker.next()
                } else {
                    break
                }
            }
            return infos
        }
    }

    /// Lists components as `ObjectStore.listComponents` does. Reads the disk: call it on a thread that may block.
    func listComponents(
        below prefix: String, startAfter: String?, limit: Int
    ) throws(ObjectStoreError) -> [String] {
        guard prefix.isEmpty || prefix.utf8.last == UInt8(ascii: "/") else { throw .invalidKey(prefix) }
        guard limit > 0 else { return [] }
        let folder = try? ObjectKey(String(decoding: prefix.utf8.dropLast(), as: UTF8.self))
        guard prefix.isEmpty || folder != nil else { return [] }
        let pending = try pendingChanges { $0.hasBytePrefix(prefix) }
        var components = Set<ObjectKey>()
        var doubtful = Set<ObjectKey>()
        for (key, information) in pending {
            let rest = key.text.utf8.dropFirst(prefix.utf8.count)
            let component = ObjectKey(valid: String(Substring(rest.prefix { $0 != UInt8(ascii: "/") })))
            if information == nil { doubtful.insert(component) } else { components.insert(component) }
        }
        doubtful.subtract(components)

        var names: [ObjectKey] = []
        var after = startAfter
        while names.count < limit {
            let (chunk, isComplete) = try componentsInTree(prefix, after: after, limit: min(limit, Self.largestChunk))
            let last = chunk.last
            if pending.isEmpty {
                names += chunk.prefix(limit - names.count)
                if isComplete { break }
                after = last?.text
                continue
            }
            var merged = Set(chunk)
            for component in components
            where (after?.isByteBefore(component.text) ?? true) && (isComplete || last.map { component <= $0 } ?? true)
            {
                merged.insert(component)
            }
            for component in merged.sorted() where names.count < limit {
                // A pending delete is below this component, so it counts only if another object is below it as well.
                if doubtful.contains(component), try !holdsObjects(prefix + component.text) { continue }
                names.append(component)
            }
            if isComplete { break }
            after = last?.text
        }
        return names.map(\.text)
    }

    private func holdsObjects(_ path: String) throws(ObjectStoreError) -> Bool {
        guard let found = try list(prefix: path, startAfter: nil, limit: 1).first else { return false }
        if found.key.text.utf8.elementsEqual(path.utf8) { return true }
        return try !list(prefix: path + "/", startAfter: nil, limit: 1).isEmpty
    }

    private func componentsInTree(
        _ prefix: String, after: String?, limit: Int
    ) throws(ObjectStoreError) -> (names: [ObjectKey], isComplete: Bool) {
        let after = after.map { Array($0.utf8) }
        var found: (names: [[UInt8]], isComplete: Bool) = ([], true)
        do throws(FileSystemError) {
            found = try tree.read { () throws(FileSystemError) in
                if after != nil, let names = try knownNames(of: prefix, .components) {
                    let found = names.components(after: after, limit: limit)
                    keep(found.isComplete ? nil : names, prefix, .components)
                    return found
                }
                var smallest = SmallestNames(limit: limit)
                try files.entries(of: Self.directory(prefix)) { (bytes, kind) in
                    // Components sort by their own bytes: a folder's has no `/` at its end.
                    let name = ChildName(bytes, isFolder: false)
                    guard kind != .foreign, after.map({ name.isAfter($0) }) ?? true, smallest.wouldTake(name),
                        Self.isText(bytes)
                    else { return }
                    smallest.insert(name)
                }
                return smallest.sorted()
            }
        } catch {
            if !error.isMissing { throw ObjectStoreError(error) }
        }
        return (found.names.map { ObjectKey(valid: String(decoding: $0, as: UTF8.self)) }, found.isComplete)
    }

    /// Selects a directory's children. A large directory that is listed page by page is read once.
    private func children(
        of path: String, _ selection: ChildSelection
    ) throws(FileSystemError) -> (names: [[UInt8]], isComplete: Bool) {
        try tree.read { () throws(FileSystemError) in
            if selection.isContinued, let names = try knownNames(of: path, .children) {
                let found = names.children(selection)
                keep(found.isComplete ? nil : names, path, .children)
                return found
            }
            var smallest = SmallestNames(limit: selection.limit)
            try files.entries(of: Self.directory(path)) { (bytes, kind) in
                if kind == .foreign { return }
                // A large directory may have many names for each wanted one: nothing is allocated for the unwanted ones.
                let child = ChildName(bytes, isFolder: kind == .directory)
                if smallest.wouldTake(child), selection.wants(child) { smallest.insert(child) }
            }
            return smallest.sorted()
        }
    }

    /// A directory's names; nil if there are too many to have them all in memory. Call it while the tree is read.
    private func knownNames(
        of path: String, _ form: LargeDirectories.Form
    ) throws(FileSystemError) -> DirectoryNames? {
        if let names = largeDirectories.withLock({ $0[path, form] }) { return names }
        var names = DirectoryNames()
        try files.entries(of: Self.directory(path)) { (bytes, kind) in
            guard kind != .foreign, names.cost <= LargeDirectories.maximumCost, Self.isText(bytes) else { return }
            names.append(ChildName(bytes, isFolder: form == .children && kind == .directory))
        }
        guard names.cost <= LargeDirectories.maximumCost else { return nil }
        names.sort()
        return names
    }

    private static func isText(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.allSatisfy { $0 < 0x80 } || String(validating: bytes, as: UTF8.self) != nil
    }

    /// Keeps the names for the listing's next page; nil: there is none.
    private func keep(_ names: DirectoryNames?, _ path: String, _ form: LargeDirectories.Form) {
        largeDirectories.withLock { directories in
            if let names { directories.add(names, path, form) } else { directories.remove(path, form) }
        }
    }

    /// - Parameter path: a path below `objects`: empty, or ending with `/`.
    private static func directory(_ path: String) -> String {
        if path.isEmpty { return StorePaths.objects }
        return "\(StorePaths.objects)/" + String(decoding: path.utf8.dropLast(), as: UTF8.self)
    }

    /// The pending changes of wanted keys, as readers see them: `information` is nil where the object is gone, or
    /// hidden until it is durable.
    private func pendingChanges(
        _ isWanted: (String) -> Bool
    ) throws(ObjectStoreError) -> [(key: ObjectKey, information: FileInformation?)] {
        try monitor.withLock { (state) throws(ObjectStoreError) in
            guard state.phase == .open else { throw .cancelled }
            var changes: [(key: ObjectKey, information: FileInformation?)] = []
            for (key, entry) in state.overlay.entries where isWanted(key.text) {
                let isHidden = if case .link = entry.change { entry.sequence > state.durable } else { false }
                changes.append((key, isHidden ? nil : entry.change.information))
            }
            return changes
        }
    }
}
