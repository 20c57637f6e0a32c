@testable import ObjectStore

extension FilesystemObjectStore {
    /// Waits until everything that is durable is in the tree.
    func applied() async { await engine.passed() }
}
