import Foundation

/// What lies in a store's directory.
struct StoreTree: Sendable {
    let directory: String

    /// The objects, by key. Complete only while no server runs: the tree follows the journal.
    func objects() -> Set<String> { files("objects") }

    /// What is being written now.
    func unfinished() -> Set<String> { files("tmp") }

    private func files(_ folder: String) -> Set<String> {
        var found: Set<String> = []
        guard let paths = FileManager.default.enumerator(atPath: "\(directory)/\(folder)") else { return found }
        while let path = paths.nextObject() as? String {
            if paths.fileAttributes?[.type] as? FileAttributeType == .typeRegular { found.insert(path) }
        }
        return found
    }
}
