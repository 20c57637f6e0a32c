import Runtime

/// Finding objects: pending changes first, then the tree.
extension StoreEngine {
    enum Found: Sendable {
        case bytes(StoredObject)
        case file(OpenFile, ObjectInfo)
    }

    /// A key's pending change.
    /// - Throws: `.cancelled` if the store is closed.
    func pending(_ key: ObjectKey) throws(ObjectStoreError) -> Pending {
        try monitor.withLock { (state) throws(ObjectStoreError) in
            guard state.phase == .open else { throw .cancelled }
            return state.pending(key)
        }
    }

    /// An object whose bytes are in memory; nil if the tree has to be read, which may block.
    /// - Throws: `.missing` if the key's object is deleted; `.cancelled` if the store is closed.
    func findInMemory(_ key: ObjectKey) throws(ObjectStoreError) -> StoredObject? {
        switch try pending(key) {
        case .gone:
            throw .missing(key)
        case .bytes(let bytes, let modified):
            let information = FileInformation(size: Int64(bytes.count), modified: modified)
            return StoredObject(info: ObjectInfo(key: key, information), bytes: bytes)
        case .file, .none:
            return nil
        }
    }

    /// Finds an object's bytes, or opens its file. Reads the disk: call it on a thread that may block.
    func find(_ key: ObjectKey) throws(ObjectStoreError) -> Found {
        // Between two lookups a streamed object may move from `tmp` to the tree and be deleted there, so they are
        // repeated.
        for _ in 0..<3 {
            if let object = try findInMemory(key) { return .bytes(object) }
            var paths = [StorePaths.object(key)]
            if case .file(let name, _) = try pending(key) { paths.insert(StorePaths.temporary(name), at: 0) }
            for path in paths {
                if let (file, information) = try openIfThere(path) {
                    return .file(file, ObjectInfo(key: key, information))
                }
            }
            if paths.count == 1 { break }
        }
        throw .missing(key)
    }

    private func openIfThere(_ path: String) throws(ObjectStoreError) -> (OpenFile, FileInformation)? {
        do throws(FileSystemError) {
            let file = OpenFile(try files.open(path, .read), files)
            return (file, try files.information(of: file.descriptor))
        } catch {
            // A directory is the folder of other keys, not an object.
            if error.isMissing || error.isDirectory { return nil }
            throw ObjectStoreError(error)
        }
    }

    /// An object's size, version and time. Reads the disk: call it on a thread that may block.
    func head(_ key: ObjectKey) throws(ObjectStoreError) -> ObjectInfo {
        switch try pending(key) {
        case .gone:
            throw .missing(key)
        case .bytes(let bytes, let modified):
            return ObjectInfo(key: key, FileInformation(size: Int64(bytes.count), modified: modified))
        case .file(_, let information):
            return ObjectInfo(key: key, information)
        case .none:
            guard case .file(let information) = try look(at: key) else { throw .missing(key) }
            return ObjectInfo(key: key, information)
        }
    }

    /// Reads a small object whole. Reads the disk: call it on a thread that may block.
    func get(_ key: ObjectKey) throws(ObjectStoreError) -> StoredObject {
        switch try find(key) {
        case .bytes(let object):
            return object
        case .file(let file, let info):
            guard info.size <= ObjectLimits.smallObject else { throw .tooLarge(key, size: info.size) }
            let bytes = try withStoreErrors { () throws(FileSystemError) in
                try files.readAll(file.descriptor, size: info.size)
            }
            guard bytes.count == info.size else { throw .io("\(key) is shorter than it was") }
            return StoredObject(info: info, bytes: bytes)
        }
    }
}
