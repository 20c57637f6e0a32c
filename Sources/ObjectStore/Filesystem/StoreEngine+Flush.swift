import Logging
import Runtime

/// The flusher: the one thread that writes the queue to the journal and flushes it, for all waiting callers at once.
extension StoreEngine {
    private static func nanoseconds(_ duration: Duration) -> Int64 {
        let (seconds, attoseconds) = duration.components
        return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
    }

    private enum Step {
        case write(Batch)
        /// The segment is old.
        case seal
    }

    private struct Batch {
        let records: [JournalRecord]
        /// The sequence number of the last record.
        let sequence: UInt64
    }

    /// Waits until everything up to a sequence number is durable.
    func flushed(through sequence: UInt64) async throws(ObjectStoreError) {
        let result = await withCheckedContinuation { (continuation: StoreState.FlushWaiter) in
            let known: Result<Void, ObjectStoreError>? = monitor.withLock { state in
                if state.durable >= sequence { return .success(()) }
                if state.flusherHasEnded || state.phase == .abandoned { return .failure(.cancelled) }
                state.flushWaiters.append((sequence, continuation))
                return nil
            }
            if let known { continuation.resume(returning: known) } else { monitor.wake(Signal.flusher) }
        }
        try result.get()
    }

    func sync() async throws(ObjectStoreError) {
        try await flushed(through: monitor.withLock { $0.lastSequence })
    }

    func flushLoop(_ journal: JournalWriter) {
        var journal = journal
        let age = Self.nanoseconds(options.segmentAge)
        while let step = nextStep(sealing: journal.begun.map { $0 + age }) {
            switch step {
            case .seal:
                journal.seal { (sealed) in
                    monitor.withLock { state in
                        state.sealed.append(sealed)
                        state.needsPass = true
                    }
                }
                monitor.wake(Signal.applier)
            case .write(let batch):
                do throws(FileSystemError) {
                    try write(batch, to: &journal)
                    hasFlushed(batch)
                } catch {
                    hasFailed(batch, error)
                }
            }
        }
        journal.seal { (sealed) in monitor.withLock { $0.sealed.append(sealed) } }
        let waiters = monitor.withLock { state in
            state.flusherHasEnded = true
            state.needsPass = true
            defer { state.flushWaiters = [] }
            return state.flushWaiters
        }
        for waiter in waiters { waiter.continuation.resume(returning: .failure(.cancelled)) }
        monitor.wake(Signal.applier)
    }

    /// - Parameter sealing: when the segment is old; nil if there is none.
    private func nextStep(sealing: Int64?) -> Step? {
        let flushDelay = Self.nanoseconds(options.flushDelay)
        return monitor.wait(for: Signal.flusher) { state in
            if state.phase == .abandoned { return .done(nil) }
            if let sealing, state.phase != .closing, SystemClock.monotonic() >= sealing { return .done(.seal) }
            if state.queue.isEmpty { return state.phase == .closing ? .done(nil) : .until(sealing) }
            let due = state.queuedSince + flushDelay
            let isWanted = !state.flushWaiters.isEmpty || !state.roomWaiters.isEmpty || state.phase == .closing
            guard isWanted || SystemClock.monotonic() >= due else { return .until(min(due, sealing ?? due)) }
            return .done(.write(Batch(records: state.queue, sequence: state.lastSequence)))
        }
    }

    private func write(_ batch: Batch, to journal: inout JournalWriter) throws(FileSystemError) {
        let reserves = reservesGivenUp
        do {
            try tryToWrite(batch, to: &journal)
        } catch {
            guard error.isFull, giveUpReserve(since: reserves) else { throw error }
            try tryToWrite(batch, to: &journal)
        }
    }

    private func tryToWrite(_ batch: Batch, to journal: inout JournalWriter) throws(FileSystemError) {
        // The bytes of streamed objects are durable; their names in `tmp`, to which the journal refers, must be too.
        let hasLinks = batch.records.contains { record in
            if case .link = record.change { true } else { false }
        }
        if hasLinks { try files.syncDirectory(StorePaths.temporary) }
        try journal.append(batch.records[...], through: batch.sequence) { (sealed) in
            monitor.withLock { $0.sealed.append(sealed) }
        }
    }

    private func hasFlushed(_ batch: Batch) {
        let (flushed, room) = monitor.withLock { state in
            state.durable = batch.sequence
            state.queue.removeFirst(batch.records.count)
            state.queuedSince = SystemClock.monotonic()
            if state.suspect != nil { logger.notice("the journal can be written again") }
            state.suspect = nil
            state.needsPass = true
            return (state.takeFlushWaiters(through: batch.sequence), state.takeRoomWaiters())
        }
        for waiter in flushed { waiter.continuation.resume(returning: .success(())) }
        for waiter in room { waiter.resume() }
        monitor.wake(Signal.applier)
    }

    private func hasFailed(_ batch: Batch, _ error: FileSystemError) {
        let failure = ObjectStoreError(error)
        logger.error("the journal can't be written", metadata: ["error": "\(error)"])
        let (flushed, room) = monitor.withLock { state in
            state.suspect = failure
            // The flusher tries again when a caller waits for it, or after the usual delay.
            state.queuedSince = SystemClock.monotonic()
            if state.phase == .closing {
                state.phase = .abandoned
                state.closeFailure = failure
            }
            return (state.takeFlushWaiters(through: batch.sequence), state.takeRoomWaiters())
        }
        for waiter in flushed { waiter.continuation.resume(returning: .failure(failure)) }
        for waiter in room { waiter.resume() }
    }
}

extension StoreState {
    fileprivate mutating func takeFlushWaiters(
        through sequence: UInt64
    ) -> [(sequence: UInt64, continuation: FlushWaiter)] {
        let split = flushWaiters.partition { $0.sequence <= sequence }
        defer { flushWaiters.removeSubrange(split...) }
        return Array(flushWaiters[split...])
    }

    mutating func takeRoomWaiters() -> [CheckedContinuation<Void, Never>] {
        defer { roomWaiters = [] }
        return roomWaiters
    }
}
