import Foundation

/// What lies in a store's directory.
struct StoreTree: Sendable {
    let directory: String

    /// The objects, by key, but for the records of operations, which come and go by themselves. Complete only while no
    /// server runs: the tree follows the journal.
    func objects() -> Set<String> { files("objects").filter { !$0.hasPrefix("operations/") } }

    /// What is being written now.
    func unfinished() -> Set<String> { files("tmp") }

    /// Has the system drop all but the beginning of the objects of a size from its memory, as if that were scarce.
    func forget(after offset: Int, filesOf size: Int) throws {
        for path in objects() {
            let file = open("\(directory)/objects/\(path)", O_RDONLY | O_CLOEXEC)
            guard file >= 0 else { continue }
            defer { close(file) }
            var status = stat()
            guard fstat(file, &status) == 0, Int(status.st_size) == size else { continue }
            fsync(file)
            posix_fadvise(file, off_t(offset), 0, Int32(POSIX_FADV_DONTNEED))
        }
    }

    private func files(_ folder: String) -> Set<String> {
        var found: Set<String> = []
        guard let paths = FileManager.default.enumerator(atPath: "\(directory)/\(folder)") else { return found }
        while let path = paths.nextObject() as? String {
            if paths.fileAttributes?[.type] as? FileAttributeType == .typeRegular { found.insert(path) }
        }
        return found
    }
}
