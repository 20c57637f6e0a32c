import Logging
import Runtime
import Synchronization

/// The filesystem driver's implementation.
///
/// A change is checked and put into `StoreState` (overlay and queue). The *flusher* thread writes the queue to the
/// journal and flushes it, once for all callers that wait. The *applier* thread then applies durable changes to the
/// tree, and drops journal segments once the tree is flushed as well. Calls that may block run on the two pools.
final class StoreEngine: Sendable {
    /// The monitor's condition variables.
    enum Signal {
        static let flusher = 0
        static let applier = 1
        static let count = 2
    }

    let files: any FileSystem
    let options: FilesystemObjectStore.Options
    let logger: Logger
    let monitor: Monitor<StoreState>
    /// Held while the reserve is being removed.
    let givingUpReserve = Mutex(())
    /// Held from checking a change's condition until the change is queued, so that of two concurrent changes one sees
    /// the other. Looking at the tree meanwhile takes microseconds, since `warm` has brought its directories into
    /// memory.
    let changing = Mutex<Void>(())
    let tree = TreeLock()
    /// Changed while `tree` is held: read by listings, alone by the applier.
    let largeDirectories = Mutex(LargeDirectories())
    let readers = BlockingPool(name: "store-read", threads: 4)
    let writers = BlockingPool(name: "store-write", threads: 8)
    let ownership: Ownership?
    let bounds: JournalBounds
    /// Makes names in `tmp` differ from those of earlier processes.
    private let token: String
    private let temporaryNames = Atomic<UInt64>(0)

    /// Opens the store. The tree isn't read, and the journal's changes are applied later, so this is quick.
    init(
        files: any FileSystem, options: FilesystemObjectStore.Options, logger: Logger, ownership: Ownership?
    ) throws(ObjectStoreError) {
        self.files = files
        self.options = options
        self.logger = logger
        self.ownership = ownership
        token = String(SystemClock.now(), radix: 36)
        var state = StoreState()
        try withStoreErrors { () throws(FileSystemError) in try Self.prepareDirectories(files) }
        try Self.checkTimes(files)

        var journal = try JournalContents(files, acceptsLoss: options.acceptsLoss)
        bounds = try Self.bounds(files, &journal, ownership)
        for lost in journal.lost {
            logger.critical(
                "what these frames of the journal held is lost, which was accepted",
                metadata: ["first": "\(lost.lowerBound)", "last": "\(lost.upperBound)"])
        }
        if journal.hasTornTail { logger.info("the journal ends in a flush that was cut off; it is left out") }
        try withStoreErrors { () throws(FileSystemError) in
            for segment in journal.empty { try files.removeIfThere(StorePaths.segment(segment)) }
            if !journal.empty.isEmpty { try files.syncDirectory(StorePaths.journal) }
        }
        state.load(journal)
        let ends = journal.segments.dropFirst() + [journal.nextFrame]
        state.sealed = zip(journal.segments, ends).map { first, end in
            .init(firstFrame: first, end: end, lastSequence: state.durable)
        }
        state.needsPass = true
        if case .file(let reserve) = try withStoreErrors({ () throws(FileSystemError) in
            try files.look(at: StorePaths.reserve)
        }) {
            state.hasReserve = reserve.size >= options.reserveBytes
        }
        let leftovers = try Self.leftovers(files, keeping: state.overlay)
        monitor = Monitor(state, signals: Signal.count)

        let writer = JournalWriter(files, bounds, segmentBytes: options.segmentBytes, nextFrame: journal.nextFrame)
        let hasFlusher = SystemThread.start(named: "store-flush") { [self] in flushLoop(writer) }
        let hasApplier = hasFlusher && SystemThread.start(named: "store-apply") { [self] in applyLoop(leftovers) }
        guard hasApplier else {
            abandon()
            throw .io("no thread could be started")
        }
    }

    func temporaryName() -> String {
        let number = temporaryNames.wrappingAdd(1, ordering: .relaxed).newValue
        return "\(token)-\(number)"
    }

    /// Compares the journal with the bounds that were written down for it.
    /// - Throws: `.io` if it does not hold what it must, unless that is accepted.
    private static func bounds(
        _ files: any FileSystem, _ journal: inout JournalContents, _ ownership: Ownership?
    ) throws(ObjectStoreError) -> JournalBounds {
        let written = try withStoreErrors { () throws(FileSystemError) in try JournalBounds.read(files) }
        var isNew = written == nil
        if ownership?.previousKeptBounds ?? true {
            if let written { try journal.check(written) }
        } else {
            // An earlier version worked on the store since they were written.
            try withStoreErrors { () throws(FileSystemError) in
                try files.removeIfThere(StorePaths.bounds)
                try files.syncDirectory("")
            }
            isNew = true
        }
        let first = max(1, journal.segments.first ?? journal.nextFrame)
        let bounds = JournalBounds(files, .init(first: first, last: journal.segments.last ?? 0), isNew: isNew)
        try withStoreErrors { () throws(FileSystemError) in
            if !journal.lost.isEmpty { try bounds.write() }
            try ownership?.sign()
        }
        return bounds
    }

    private static func prepareDirectories(_ files: any FileSystem) throws(FileSystemError) {
        var isNew = false
        for directory in [StorePaths.temporary, StorePaths.journal, StorePaths.objects]
        where try files.look(at: directory) == .missing {
            try files.makeDirectory(directory)
            isNew = true
        }
        if isNew { try files.syncDirectory("") }
    }

    /// Checks that the file system keeps times to the nanosecond, which objects' versions are made of.
    private static func checkTimes(_ files: any FileSystem) throws(ObjectStoreError) {
        let kept = try withStoreErrors { () throws(FileSystemError) in
            let file = try files.open(StorePaths.lock, .readWrite)
            defer { files.close(file) }
            let time = SystemClock.now() / 1000 * 1000 + 789
            try files.setModified(file, nanoseconds: time)
            return try files.information(of: file).modified == time
        }
        guard kept else { throw .io("this file system does not keep times to the nanosecond, which the store needs") }
    }

    /// The files that earlier processes left in `tmp`, without those that the journal still needs.
    private static func leftovers(
        _ files: any FileSystem, keeping overlay: PendingChanges
    ) throws(ObjectStoreError) -> [String] {
        var needed: Set<String> = []
        for case .link(let name, _, _) in overlay.entries.values.lazy.map(\.change) { needed.insert(name) }
        var leftovers: [String] = []
        try withStoreErrors { () throws(FileSystemError) in
            try files.entries(of: StorePaths.temporary) { (bytes, kind) in
                let name = String(decoding: bytes, as: UTF8.self)
                if kind == .file, !needed.contains(name) { leftovers.append(name) }
            }
        }
        return leftovers
    }
}

// MARK: Closing

extension StoreEngine {
    /// Flushes and applies everything and gives the directory up. Later calls fail with `.cancelled`.
    func close() async throws(ObjectStoreError) {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let hasEnded = monitor.withLock { state in
                if state.phase == .open { state.phase = .closing }
                state.needsPass = true
                if !state.applierHasEnded { state.closeWaiters.append(continuation) }
                return state.applierHasEnded
            }
            monitor.wake(Signal.flusher)
            monitor.wake(Signal.applier)
            if hasEnded { continuation.resume() }
        }
        if let failure = monitor.withLock({ $0.closeFailure }) { throw failure }
    }

    /// Ends the threads without waiting for them, as a crash would: what was not flushed is lost.
    func abandon() {
        monitor.withLock { $0.phase = .abandoned }
        monitor.wake(Signal.flusher)
        monitor.wake(Signal.applier)
        readers.stop()
        writers.stop()
    }
}

extension StoreState {
    /// Adds the journal's changes as pending ones. The tree may have many of them, but nobody knows which.
    mutating func load(_ journal: JournalContents) {
        for (key, change) in journal.changes {
            if overlay[key] == nil {
                overlay.insert(JournalRecord(key: key, change: change), sequence: durable, since: 0)
                lastModified = max(lastModified, change.information?.modified ?? 0)
            } else {
                // A newer change is pending, perhaps not durable yet: until it is applied, the journal must keep this
                // one.
                overlay.keepJournal(for: key)
            }
        }
    }
}
