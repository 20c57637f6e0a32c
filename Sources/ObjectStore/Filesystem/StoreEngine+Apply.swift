import Logging
import Runtime
import Synchronization

/// The applier: the one thread that changes the tree, where it applies durable changes.
extension StoreEngine {
    private typealias Ready = (key: ObjectKey, entry: PendingChanges.Entry)

    /// How many deletes in one folder are made under one lock, for which readers of directories have to wait.
    private static let deletesAtOnce = 32

    private struct Pass {
        /// Each batch is one change, or some deletes in one folder.
        let batches: [[Ready]]
        let orphans: [String]
        let waiters: [CheckedContinuation<Void, Never>]
    }

    /// Waits until the applier has made a whole pass, in which it tries to apply everything that is durable by now.
    func passed() async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let hasEnded = monitor.withLock { state in
                if !state.applierHasEnded { state.passWaiters.append(continuation) }
                state.needsPass = true
                return state.applierHasEnded
            }
            if hasEnded { continuation.resume() } else { monitor.wake(Signal.applier) }
        }
    }

    func applyLoop(_ leftovers: [String]) {
        for name in leftovers where monitor.withLock({ $0.phase != .abandoned }) {
            try? files.removeIfThere(StorePaths.temporary(name))
        }
        var retryTime: Int64?
        while let pass = nextPass(retryTime) {
            var failure = apply(pass)
            for name in pass.orphans { try? files.removeIfThere(StorePaths.temporary(name)) }
            do throws(ObjectStoreError) {
                try dropSegments()
            } catch {
                failure = failure ?? error
            }
            restoreReserve()
            // The waiting changes need disk space, so the space of removed files must be free before they go on.
            if !pass.waiters.isEmpty { files.settle() }
            finish(pass, failure)
            retryTime = failure == nil ? nil : SystemClock.monotonic() + 1_000_000_000
        }
        end()
    }

    private func nextPass(_ retryTime: Int64?) -> Pass? {
        monitor.wait(for: Signal.applier) { state in
            if state.phase == .abandoned { return .done(nil) }
            guard state.needsPass || retryTime.map({ SystemClock.monotonic() >= $0 }) ?? false else {
                return state.flusherHasEnded ? .done(nil) : .until(retryTime)
            }
            state.needsPass = false
            let durable = state.durable
            let ready = state.overlay.entries.filter { $0.value.sequence <= durable }
            let split = state.orphans.partition { $0.sequence <= durable }
            let orphans = state.orphans[split...].map(\.name)
            state.orphans.removeSubrange(split...)
            defer { state.passWaiters = [] }
            return .done(
                Pass(batches: Self.inOrder(ready), orphans: orphans, waiters: state.passWaiters))
        }
    }

    /// Puts changes in order, deletes first: they free space, and a deleted key may be a folder of one that was
    /// written.
    private static func inOrder(_ entries: [ObjectKey: PendingChanges.Entry]) -> [[Ready]] {
        var deletes: [Ready] = []
        var others: [Ready] = []
        for (key, entry) in entries {
            if case .delete = entry.change { deletes.append((key, entry)) } else { others.append((key, entry)) }
        }
        deletes.sort { $0.key < $1.key }
        others.sort { $0.entry.sequence < $1.entry.sequence }
        var batches: [[Ready]] = []
        var folder: Substring?
        for delete in deletes {
            if folder == delete.key.folder, let last = batches.indices.last, batches[last].count < deletesAtOnce {
                batches[last].append(delete)
            } else {
                batches.append([delete])
                folder = delete.key.folder
            }
        }
        return batches + others.map { [$0] }
    }

    private func apply(_ pass: Pass) -> ObjectStoreError? {
        var failure: FileSystemError?
        for batch in pass.batches where monitor.withLock({ $0.phase != .abandoned }) {
            let reserves = reservesGivenUp
            do throws(FileSystemError) {
                do throws(FileSystemError) {
                    try apply(batch)
                } catch {
                    guard error.isFull, giveUpReserve(since: reserves) else { throw error }
                    try apply(batch)
                }
                monitor.withLock { state in
                    for (key, entry) in batch where state.overlay[key]?.sequence == entry.sequence {
                        state.overlay.remove(key)
                    }
                }
            } catch {
                failure = failure ?? error
            }
        }
        if let failure {
            logger.error("a change waits in the journal: it can't be applied", metadata: ["error": "\(failure)"])
        }
        return failure.map(ObjectStoreError.init)
    }

    private func apply(_ batch: [Ready]) throws(FileSystemError) {
        guard let (key, entry) = batch.first else { return }
        try tree.change { () throws(FileSystemError) in
            let tree = ObjectTree(files)
            largeDirectories.withLock { directories in
                if entry.change.information != nil {
                    directories.willPut(key)
                } else {
                    for (key, _) in batch { directories.willDelete(key) }
                }
            }
            switch entry.change {
            case .put(let bytes, let modified):
                try tree.put(bytes, modified: modified, at: key, by: temporaryName())
            case .link(let name, _, _):
                try tree.move(name, to: key)
            case .delete:
                try tree.delete(batch.map(\.key))
            }
        }
    }

    private func finish(_ pass: Pass, _ failure: ObjectStoreError?) {
        let room = monitor.withLock { state in
            state.stuck = failure
            return state.takeRoomWaiters()
        }
        for waiter in pass.waiters { waiter.resume() }
        for waiter in room { waiter.resume() }
    }

    private func end() {
        let (isClosing, isApplied) = monitor.withLock { state in
            (state.phase == .closing, state.overlay.entries.isEmpty)
        }
        // The journal stays for the next start if something could not be applied.
        if isClosing, isApplied { try? dropSegments() }
        // Whoever waits for the end may unmount the file system, which no open file may keep busy then.
        files.settle()
        readers.stop()
        writers.stop()
        ownership?.giveUp()
        let waiters = monitor.withLock { state in
            state.applierHasEnded = true
            defer {
                state.passWaiters = []
                state.roomWaiters = []
                state.closeWaiters = []
            }
            return state.passWaiters + state.roomWaiters + state.closeWaiters
        }
        for waiter in waiters { waiter.resume() }
    }
}

// MARK: Checkpoints

extension StoreEngine {
    /// Flushes the tree, then drops the sealed segments whose changes are all in it.
    private func dropSegments() throws(ObjectStoreError) {
        if monitor.withLock({ $0.mustLoadAgain }) { try loadAgain() }
        let segments: [JournalWriter.Sealed] = monitor.withLock { state in
            if state.sealed.isEmpty { return [] }
            let first = state.overlay.first ?? .max
            return Array(state.sealed.prefix { $0.lastSequence < first })
        }
        guard !segments.isEmpty else { return }
        do throws(FileSystemError) {
            try files.syncAll()
        } catch {
            logger.error("the tree can't be flushed; it is written again", metadata: ["error": "\(error)"])
            monitor.withLock { $0.mustLoadAgain = true }
            throw ObjectStoreError(error)
        }
        do throws(FileSystemError) {
            if let end = segments.last?.end {
                let reserves = reservesGivenUp
                do throws(FileSystemError) {
                    try bounds.willDrop(before: end)
                } catch {
                    guard error.isFull, giveUpReserve(since: reserves) else { throw error }
                    try bounds.willDrop(before: end)
                }
            }
            // The oldest goes first, durably: one that outlived a newer segment would bring back objects which that
            // one deleted.
            for segment in segments {
                try files.removeIfThere(StorePaths.segment(segment.firstFrame))
                try files.syncDirectory(StorePaths.journal)
                monitor.withLock { _ = $0.sealed.removeFirst() }
            }
        } catch {
            logger.error("a journal segment can't be removed", metadata: ["error": "\(error)"])
            throw ObjectStoreError(error)
        }
    }

    /// Loads all changes of the journal again, to apply them once more. After a failed flush of the tree nobody knows
    /// what of it is on disk, since the kernel may have dropped dirty pages, but the journal still has it all.
    private func loadAgain() throws(ObjectStoreError) {
        // The flusher may append meanwhile, which can look like damage: then this throws, and the next pass tries
        // again.
        let journal = try JournalContents(files)
        monitor.withLock { state in
            // Only this thread removes changes from the overlay, so a key that is not in it was not changed since the
            // journal was read.
            state.load(journal)
            state.mustLoadAgain = false
            state.needsPass = true
        }
    }
}
