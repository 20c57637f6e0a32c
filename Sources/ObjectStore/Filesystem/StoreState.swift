/// What the threads of a filesystem store share.
struct StoreState {
    enum Phase {
        case open
        /// Being closed: pending changes are flushed and applied, new ones are refused.
        case closing
        /// Given up without more work: everything that was acknowledged as durable is in the journal.
        case abandoned
    }

    typealias FlushWaiter = CheckedContinuation<Result<Void, ObjectStoreError>, Never>

    var phase = Phase.open
    var overlay = PendingChanges()
    var lastModified: Int64 = 0

    // Sequence numbers count changes in their order. They are not stored: each process begins anew.

    /// Changes that the journal does not hold durably yet, in order; the last one is `lastSequence`.
    var queue: [JournalRecord] = []
    /// Since when the queue waits: when its first change came or the last flush ended, in `SystemClock.monotonic()`'s
    /// time.
    var queuedSince: Int64 = 0
    var lastSequence: UInt64 = 1
    /// The journal durably holds every change up to this sequence number.
    var durable: UInt64 = 1
    /// Why the journal could not be written the last time; nil if it could. Meanwhile no change is accepted.
    var suspect: ObjectStoreError?
    var flushWaiters: [(sequence: UInt64, continuation: FlushWaiter)] = []
    var flusherHasEnded = false

    /// Segments to which nothing is appended any more, oldest first.
    var sealed: [JournalWriter.Sealed] = []
    /// Files in `tmp` whose change was replaced before it was applied, each with the sequence number of the change
    /// that replaced it. They are removed once that change is durable.
    var orphans: [(sequence: UInt64, name: String)] = []
    var hasReserve = false
    var reservesGivenUp = 0
    /// Why a change could not be applied to the tree in the last pass; nil if all could.
    var stuck: ObjectStoreError?
    /// Whether the tree could not be flushed: the journal's changes must then be applied again before any of it is
    /// dropped.
    var mustLoadAgain = false
    var needsPass = false
    var passWaiters: [CheckedContinuation<Void, Never>] = []
    /// Callers whose changes wait until less is pending.
    var roomWaiters: [CheckedContinuation<Void, Never>] = []
    var applierHasEnded = false
    var closeWaiters: [CheckedContinuation<Void, Never>] = []
    /// Why the store could not be closed properly.
    var closeFailure: ObjectStoreError?
}

/// A key's pending change as a reader sees it.
enum Pending {
    case none
    case gone
    case bytes([UInt8], modified: Int64)
    /// A streamed object that may still have its name in `tmp`.
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

    /// A time for a change, in nanoseconds since 1970: later than every one before, so that it tells versions apart.
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
    /// An object's version is its size and its time to the nanosecond, which the store sets and no two writes share.
    /// So it is known without reading the object, outlives restarts, and is the same after the journal was replayed.
    init(key: ObjectKey, _ information: FileInformation) {
        let token = String(information.modified, radix: 36) + "-" + String(information.size, radix: 36)
        self.init(
            key: key, size: information.size, version: ObjectVersion(token: token), modified: information.modified)
    }
}
