import Runtime
import Synchronization

/// Puts, deletes and finished streams: checked against what is there and taken in one step.
extension StoreEngine {
    /// What came of trying a change.
    enum Attempt<Value: Sendable>: Sendable {
        case done(Value)
        /// The journal failed before; it must be written anew first.
        case journalFailed
        /// Too much is pending.
        case crowded
        /// The disk is full, unless pending deletes help.
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

    /// Checks what stands in the way of a change.
    /// - Parameter bytes: new content that will stay; nil for a delete, which a full disk must not stop.
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
        // Who knows its version has just read it.
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

    /// Takes a file of `tmp`, durable but for its name, as an object.
    /// - Returns: What must be durable before the object is.
    func link(
        _ name: String, _ information: FileInformation, to key: ObjectKey
    ) throws(ObjectStoreError) -> Attempt<UInt64> {
        // Its bytes are on disk already, the rest is as small as a delete.
        if let obstacle: Attempt<UInt64> = try obstacle(bytes: nil) { return obstacle }
        warm(key)
        return try changing.withLock { (_) throws(ObjectStoreError) in
            try checkAbsent(key)
            let change = JournalRecord.Change.link(
                name: name, size: information.size, modified: information.modified)
            return .done(try take(key) { _ in change }.sequence)
        }
    }

    /// Whether new things are taken.
    var isOpen: Bool { monitor.withLock { $0.phase == .open } }

    /// Writes a part of a stream if there is room for it.
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

    /// - Throws: `.exists`, `.invalidKey` if the key can't be written as a new one.
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
        // The flusher waits without a time while there is nothing to flush.
        if isFirst { monitor.wake(Signal.flusher) }
        return (modified, sequence)
    }

    /// Gets the key's directories into memory before the lock is taken.
    private func warm(_ key: ObjectKey) {
        // What is pending is looked at no further.
        guard monitor.withLock({ $0.overlay[key] }) == nil else { return }
        _ = try? files.look(at: StorePaths.object(key))
    }

    /// What is there for a change to meet: streamed objects that are becoming durable included.
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

    /// Checks that a key that is not there may be: no object is above or below it.
    private func checkConflicts(_ key: ObjectKey) throws(ObjectStoreError) {
        let folders = key.folders
        // Asked before the tree: what leaves the overlay has been applied.
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
