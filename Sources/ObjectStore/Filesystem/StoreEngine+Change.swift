import Runtime
import Synchronization

/// Puts, deletes and finished streams: each is checked against the objects that exist and accepted in one step.
extension StoreEngine {
    /// The outcome of an attempt to make a change.
    enum Attempt<Value: Sendable>: Sendable {
        case done(Value)
        /// The journal could not be written; that must succeed before changes are accepted again.
        case journalFailed
        /// Too much is pending.
        case crowded
        /// The disk is full; applying pending deletes may free space.
        case full
    }

    /// Tries a change on one of the pool's threads until it is done or has failed.
    func change<Value: Sendable>(
        _ attempt: @escaping @Sendable () throws(ObjectStoreError) -> Attempt<Value>
    ) async throws(ObjectStoreError) -> Value {
        var hasMadeRoom = false
        while true {
            switch try await writers.run(attempt) {
            case .done(let value):
                return value
            case .journalFailed:
                try await sync()
            case .crowded:
                await room()
            case .full:
                if hasMadeRoom { throw .full }
                hasMadeRoom = true
                try? await sync()
                await passed()
            }
        }
    }

    /// Waits until something that was pending is flushed or applied.
    private func room() async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let hasEnded = monitor.withLock { state in
                if !state.applierHasEnded { state.roomWaiters.append(continuation) }
                state.needsPass = true
                return state.applierHasEnded
            }
            if hasEnded { return continuation.resume() }
            monitor.wake(Signal.flusher)
            monitor.wake(Signal.applier)
        }
    }

    /// Checks whether a change can be accepted now.
    /// - Parameter bytes: how much content the change adds; nil for changes that a full disk must not stop.
    /// - Returns: why the change has to wait; nil if it can be accepted.
    private func obstacle<Value>(bytes: Int?) throws(ObjectStoreError) -> Attempt<Value>? {
        let obstacle: Attempt<Value>? = try monitor.withLock { (state) throws(ObjectStoreError) in
            guard state.phase == .open else { throw .cancelled }
            if state.suspect != nil { return .journalFailed }
            let (count, weight) = (state.overlay.entries.count, state.overlay.weight)
            let isCrowded =
                if let bytes {
                    count >= options.pendingObjects || weight > 0 && weight + bytes > options.pendingBytes
                } else {
                    count >= 2 * options.pendingObjects
                }
            guard isCrowded || state.sealed.count >= options.segments else { return nil }
            if let stuck = state.stuck { throw stuck }
            return .crowded
        }
        if let obstacle { return obstacle }
        if let bytes {
            do throws(ObjectStoreError) {
                try checkSpace(for: bytes)
            } catch {
                guard error == .full else { throw error }
                return .full
            }
        }
        return nil
    }

    func put(
        _ key: ObjectKey, _ bytes: [UInt8], if condition: PutCondition
    ) throws(ObjectStoreError) -> Attempt<ObjectInfo> {
        if let obstacle: Attempt<ObjectInfo> = try obstacle(bytes: bytes.count) { return obstacle }
        warm(key)
        return try changing.withLock { (_) throws(ObjectStoreError) in
            let current = try current(key)
            try condition.check(key, current: current.map { ObjectInfo(key: key, $0).version })
            if current == nil { try checkConflicts(key) }
            let (modified, _) = try take(key) { .put(bytes: bytes, modified: $0) }
            return .done(ObjectInfo(key: key, FileInformation(size: Int64(bytes.count), modified: modified)))
        }
    }

    func delete(_ key: ObjectKey, ifVersion version: ObjectVersion?) throws(ObjectStoreError) -> Attempt<Void> {
        if let obstacle: Attempt<Void> = try obstacle(bytes: nil) { return obstacle }
        // A caller that knows the version has just read the object, so the directories are in memory.
        if version == nil { warm(key) }
        return try changing.withLock { (_) throws(ObjectStoreError) in
            let current = try current(key)
            if let version {
                let currentVersion = current.map { ObjectInfo(key: key, $0).version }
                try PutCondition.version(version).check(key, current: currentVersion)
            }
            if current != nil { _ = try take(key) { _ in .delete } }
            return .done(())
        }
    }

    /// Makes an object of a file in `tmp`, whose bytes must be durable already.
    /// - Returns: the change's sequence number: the object is durable once the journal is flushed up to it.
    func link(
        _ name: String, _ information: FileInformation, to key: ObjectKey
    ) throws(ObjectStoreError) -> Attempt<UInt64> {
        // The bytes are on disk already; what is left to write is as small as for a delete.
        if let obstacle: Attempt<UInt64> = try obstacle(bytes: nil) { return obstacle }
        warm(key)
        return try changing.withLock { (_) throws(ObjectStoreError) in
            try checkAbsent(key)
            let change = JournalRecord.Change.link(
                name: name, size: information.size, modified: information.modified)
            return .done(try take(key) { _ in change }.sequence)
        }
    }

    /// Whether the store accepts changes: it is neither closing nor closed.
    var isOpen: Bool { monitor.withLock { $0.phase == .open } }

    /// Runs `write` if the store is open and the disk has room for a number of bytes.
    func admitting<Value: Sendable>(
        _ bytes: Int, _ write: () throws(FileSystemError) -> Value
    ) throws(ObjectStoreError) -> Attempt<Value> {
        guard isOpen else { throw .cancelled }
        do throws(ObjectStoreError) {
            try checkSpace(for: bytes)
            return .done(try withStoreErrors(write))
        } catch {
            guard error == .full else { throw error }
            return .full
        }
    }

    /// Checks that a key is free for a new object.
    /// - Throws: `.exists` if the key has an object; `.invalidKey` if one is above or below it.
    func checkAbsent(_ key: ObjectKey) throws(ObjectStoreError) {
        if try current(key) != nil { throw .exists(key) }
        try checkConflicts(key)
    }

    func stamp() -> Int64 {
        let now = options.now()
        return monitor.withLock { $0.stamp(now) }
    }

    private func take(
        _ key: ObjectKey, _ change: (Int64) -> JournalRecord.Change
    ) throws(ObjectStoreError) -> (modified: Int64, sequence: UInt64) {
        let now = options.now()
        let (modified, sequence, isFirst) = try monitor.withLock {
            (state) throws(ObjectStoreError) -> (Int64, UInt64, Bool) in
            guard state.phase == .open else { throw .cancelled }
            let modified = state.stamp(now)
            let isFirst = state.queue.isEmpty
            let sequence = state.append(JournalRecord(key: key, change: change(modified)), at: SystemClock.monotonic())
            return (modified, sequence, isFirst)
        }
        // While the queue is empty, the flusher sleeps without a deadline, so it must be woken.
        if isFirst { monitor.wake(Signal.flusher) }
        return (modified, sequence)
    }

    /// Looks the key up, so that its directories are in memory before the lock `changing` is taken.
    private func warm(_ key: ObjectKey) {
        // A key with a pending change won't be looked up in the tree.
        guard monitor.withLock({ $0.overlay[key] }) == nil else { return }
        _ = try? files.look(at: StorePaths.object(key))
    }

    /// A key's object as changes see it, including a streamed one that is not durable yet; nil if there is none.
    private func current(_ key: ObjectKey) throws(ObjectStoreError) -> FileInformation? {
        if let entry = monitor.withLock({ $0.overlay[key] }) { return entry.change.information }
        switch try look(at: key) {
        case .file(let information): return information
        case .foreign: throw .io("\(StorePaths.object(key)) is no regular file")
        case .directory, .missing, .belowFile: return nil
        }
    }

    func look(at key: ObjectKey) throws(ObjectStoreError) -> PathState {
        try withStoreErrors { () throws(FileSystemError) in try files.look(at: StorePaths.object(key)) }
    }

    /// Checks that no object's key is above or below a new key.
    /// - Throws: `.invalidKey` if one is.
    private func checkConflicts(_ key: ObjectKey) throws(ObjectStoreError) {
        let folders = key.folders
        // The overlay is read before the tree: a change that leaves it in between is in the tree.
        let gone: Set<ObjectKey> = try monitor.withLock { (state) throws(ObjectStoreError) in
            if state.overlay.below(key).live > 0 { throw .invalidKey(key.text) }
            var gone: Set<ObjectKey> = []
            for folder in folders {
                guard let entry = state.overlay[folder] else { continue }
                if entry.change.information != nil { throw .invalidKey(key.text) }
                gone.insert(folder)
            }
            return gone
        }
        switch try look(at: key) {
        case .belowFile:
            for folder in folders where !gone.contains(folder) {
                if case .file = try look(at: folder) { throw .invalidKey(key.text) }
            }
        case .directory:
            if try !list(prefix: key.text + "/", startAfter: nil, limit: 1).isEmpty { throw .invalidKey(key.text) }
        case .file, .missing, .foreign:
            return
        }
    }
}
