/// What the threads of a filesystem store share.
struct StoreState {
    enum Phase {
        case open
        /// Being closed: what is there is flushed and applied, nothing new is taken.
        case closing
        /// Given up without more work: the journal has what was promised.
        case abandoned
    }

    typealias FlushWaiter = CheckedContinuation<Result<Void, ObjectStoreError>, Never>

    var phase = Phase.open
    var overlay = PendingChanges()
    var lastModified: Int64 = 0

    // Sequence numbers are given in the order in which changes are made and end with the process.

    /// Changes that the journal does not hold durably yet, in order; the last one is `lastSequence`.
    var queue: [JournalRecord] = []
    /// When the first of them came, in `SystemClock.monotonic()`'s time.
    var queuedSince: Int64 = 0
    var lastSequence: UInt64 = 1
    /// The journal holds everything up to here.
    var durable: UInt64 = 1
    /// Why the journal could not be written the last time. No change is taken before a new segment was.
    var suspect: ObjectStoreError?
    var flushWaiters: [(sequence: UInt64, continuation: FlushWaiter)] = []
    var flusherHasEnded = false

    /// Segments to which nothing is appended any more, oldest first.
    var sealed: [JournalWriter.Sealed] = []
    /// Files in `tmp` that no object will be made of, each with the change that made it so.
    var orphans: [(sequence: UInt64, name: String)] = []
    var hasReserve = false
    var reservesGivenUp = 0
    /// Why a change could not be applied to the tree in the last pass.
    var stuck: ObjectStoreError?
    /// The tree could not be flushed: what the journal holds must be applied again before any of it is dropped.
    var mustLoadAgain = false
    var needsPass = false
    var passWaiters: [CheckedContinuation<Void, Never>] = []
    /// Changes that came while too much was pending.
    var roomWaiters: [CheckedContinuation<Void, Never>] = []
    var applierHasEnded = false
    var closeWaiters: [CheckedContinuation<Void, Never>] = []
    /// What went wrong while closing.
    var closeFailure: ObjectStoreError?
}

/// What a reader finds of a key that has a pending change.
enum Pending {
    case none
    case gone
    case bytes([UInt8], modified: Int64)
    /// A streamed object that still has its name in `tmp`.
    case file(name: String, FileInformation)
}

extension StoreState {
    /// A key's pending change as readers see it: streamed objects only once they are durable.
    func pending(_ key: ObjectKey) -> Pending {
        guard let entry = overlay[key] else { return .none }
        switch entry.change {
        case .put(let bytes, let modified):
            return .bytes(bytes, modified: modified)
        case .link(let name, let size, let modified):
            if entry.sequence > durable { return .gone }
            return .file(name: name, FileInformation(size: size, modified: modified))
        case .delete:
            return .gone
        }
    }

    /// The time of a change: later than every one before, so that it tells versions apart.
    mutating func stamp(_ now: Int64) -> Int64 {
        lastModified = max(now, lastModified + 1)
        return lastModified
    }

    mutating func append(_ record: JournalRecord, at time: Int64) -> UInt64 {
        lastSequence += 1
        if queue.isEmpty { queuedSince = time }
        queue.append(record)
        if case .link(let name, _, _)? = overlay.insert(record, sequence: lastSequence) {
            orphans.append((lastSequence, name))
        }
        return lastSequence
    }
}

extension ObjectInfo {
    /// An object's version is its size and time to the nanosecond, which the store sets and no two writes share. So it
    /// costs no reading, outlives restarts, and comes back when the journal is replayed.
    init(key: ObjectKey, _ information: FileInformation) {
        let token = String(information.modified, radix: 36) + "-" + String(information.size, radix: 36)
        self.init(
            key: key, size: information.size, version: ObjectVersion(token: token), modified: information.modified)
    }
}
