import Runtime

@testable import ObjectStore

extension FilesystemObjectStore {
    /// Waits until everything that is durable is in the tree.
    func applied() async { await engine.passed() }
}

extension FilesystemObjectStore {
    /// How many calls wait for a flush.
    var waitingForFlush: Int { engine.monitor.withLock { $0.flushWaiters.count } }
}

extension FilesystemObjectStore {
    /// Ends the store as a crash would, but for its lock, and waits for its threads.
    func abandonAndWait() async {
        engine.abandon()
        await engine.passed()
        while !engine.monitor.withLock({ $0.applierHasEnded }) { await Task.yield() }
    }
}

extension FilesystemObjectStore.Options {
    /// For simulated disks: no reserve, and segments that are soon full.
    static let small: Self = {
        var options = Self()
        options.reserveBytes = 0
        options.segmentBytes = 64 << 10
        return options
    }()
}
