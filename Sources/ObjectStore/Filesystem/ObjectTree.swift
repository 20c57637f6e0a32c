/// The directory tree that holds the objects' bytes, one plain file each.
struct ObjectTree {
    private let files: any FileSystem

    init(_ files: any FileSystem) { self.files = files }

    /// Writes an object's bytes to a file in `tmp` and renames that to the object's path.
    /// - Parameter name: a new name for the file in `tmp`.
    func put(_ bytes: [UInt8], modified: Int64, at key: ObjectKey, by name: String) throws(FileSystemError) {
        let temporary = StorePaths.temporary(name)
        let file = try files.open(temporary, .create)
        do {
            defer { files.close(file) }
            try bytes.withRawBytes { (bytes) throws(FileSystemError) in try files.write(file, at: 0, bytes) }
            try files.setModified(file, nanoseconds: modified)
        } catch {
            try? files.remove(temporary)
            throw error
        }
        do {
            try place(temporary, at: key)
        } catch {
            try? files.remove(temporary)
            throw error
        }
    }

    /// Renames a finished file of `tmp` to the object's path. If it is no longer in `tmp`, that was done before.
    func move(_ name: String, to key: ObjectKey) throws(FileSystemError) {
        let temporary = StorePaths.temporary(name)
        if try files.look(at: temporary) != .missing { try place(temporary, at: key) }
    }

    /// Removes objects of one folder and the directories that become empty.
    func delete(_ keys: [ObjectKey]) throws(FileSystemError) {
        guard let first = keys.first else { return }
        let directory = first.folder.map { "\(StorePaths.objects)/\($0)" } ?? StorePaths.objects
        // A delete that is replayed from the journal may have removed them before.
        try files.removeIfThere(keys.map(\.name), in: directory)
        for folder in first.folders.reversed() {
            do {
                try files.removeDirectory(StorePaths.object(folder))
            } catch let error where error.isMissing {
                continue
            } catch {
                return
            }
        }
    }

    private func place(_ temporary: String, at key: ObjectKey) throws(FileSystemError) {
        let path = StorePaths.object(key)
        do {
            try files.rename(temporary, to: path)
        } catch let error where error.isMissing {
            for folder in key.folders { try files.makeDirectory(StorePaths.object(folder)) }
            try files.rename(temporary, to: path)
        } catch let error where error.isDirectory {
            try removeEmptyDirectories(path)
            try files.rename(temporary, to: path)
        }
    }

    private func removeEmptyDirectories(_ path: String) throws(FileSystemError) {
        var names: [String] = []
        try files.entries(of: path) { (name, _) in names.append(String(decoding: name, as: UTF8.self)) }
        for name in names { try removeEmptyDirectories("\(path)/\(name)") }
        try files.removeDirectory(path)
    }
}
