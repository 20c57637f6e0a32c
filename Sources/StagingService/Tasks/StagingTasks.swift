import JSON
package import Logging
package import Maintenance
import OCI
package import ObjectStore
package import Records
package import Runtime
import Synchronization
package import Transfer

/// What runs a task: on this machine, later as a Job of a cluster.
package protocol StagingRunner: Sendable {
    /// Runs a task to its end, and ends it early if the caller's task is cancelled.
    /// - Parameter log: gets what its steps print, as it comes.
    func run(
        _ guid: String, _ request: StagingRequest, log: @escaping @Sendable (ArraySlice<UInt8>) -> Void
    ) async -> StagingOutcome
}

/// Staging tasks: taken in as records, run in turn, each with one outcome that is told to who asked for it.
///
/// A task's state is its record, changed by compare-and-swap: the outcome is written before anybody is told, and what is
/// told is the same each time. If the process ends, what waited and what ran is queued again by the next one; a task that
/// the server's end has interrupted `maximumAttempts` times has failed.
package final class StagingTasks: Sendable {
    package struct Limits: Sendable {
        /// Tasks that run at the same time.
        package var running = 2
        /// Tasks that wait; more are refused.
        package var waiting = 10_000
        /// Ended tasks whose records and logs are kept, the youngest.
        package var kept = 1000
        /// For how long an outcome is told, in nanoseconds.
        package var patience: Int64 = 86_400_000_000_000
        /// The pause after the first failure to tell it; it doubles up to `longestPause`.
        package var firstPause = Duration.seconds(1)
        package var longestPause = Duration.seconds(300)

        package init() {}
    }

    /// How often a task is begun at the most.
    static let maximumAttempts: Int64 = 3
    /// How many tasks that wait, and how many that have ended, are shown among operations.
    static let shown = 20
    private enum Job: Sendable {
        case look
        case tell(guid: String)
    }

    private struct State {
        var queue = StagingQueue()
        var logs: [String: TaskLog] = [:]
        var running: [String: Task<StagingOutcome?, Never>] = [:]
        /// Tasks whose outcome is being written.
        var ending: [String: Task<Void, Never>] = [:]
        /// Tasks whose outcome is being told.
        var told: Set<String> = []
        /// Running tasks that somebody wants to end.
        var unwanted: Set<String> = []
        var runningCount = 0
        /// Those that ended last, the last one first.
        var ended: [String] = []
        var isStopping = false
    }

    package static let folder = RecordFolder(
        "staging/tasks/", [RecordKind("staging task", StagingRecord.self) { $0.text.split(separator: "/").count == 3 }])
    private static let logs = "staging/logs/"

    private let records: RecordStore<StagingError>
    private let runner: any StagingRunner
    private let teller: OutcomeTeller
    private let limits: Limits
    private let events: Events?
    private let now: @Sendable () -> Int64
    private let logger: Logger
    private let state = Mutex(State())
    private let jobs: AsyncStream<Job>
    private let work: AsyncStream<Job>.Continuation

    /// - Parameters:
    ///   - client: tells outcomes.
    ///   - events: gets the ends of tasks.
    ///   - now: nanoseconds since 1970.
    package init(
        store: any ObjectStore, unreadable: UnreadableRecords = UnreadableRecords(), runner: any StagingRunner,
        client: TaskClient, limits: Limits = Limits(), events: Events? = nil,
        now: @escaping @Sendable () -> Int64, logger: Logger
    ) {
        self.events = events
        records = RecordStore(store, unreadable: unreadable)
        self.runner = runner
        teller = OutcomeTeller(records, client, limits, now, logger)
        self.limits = limits
        self.now = now
        self.logger = logger
        (jobs, work) = AsyncStream.makeStream()
    }

    // MARK: What others ask for

    /// Takes a task in. It is durable on return. The same guid again, while the task has not ended, changes nothing.
    /// - Throws: `.invalid`, `.ended`, `.tooMany`, `.record`.
    package func begin(
        _ guid: String, _ request: StagingRequest, by user: String
    ) async throws(StagingError) -> StagingRecord {
        guard StagingRecord.isGUID(guid) else { throw .invalid("the guid of a staging task is [A-Za-z0-9._-]{1,200}") }
        guard state.withLock({ $0.queue.count < limits.waiting }) else { throw .tooMany }
        let stored = try await records.update(
            try key(guid), as: StagingRecord.self
        ) { (found) throws(StagingError) -> RecordChange<StagingRecord> in
            guard let found else {
                return .write(StagingRecord(guid: guid, request: request, by: user, created: now()))
            }
            guard !found.value.state.isFinal else { throw .ended(guid: guid) }
            return .keep
        }
        guard let record = stored?.value else { throw .unknown(guid: guid) }
        // Also for one that was there: its first request may have failed before this.
        try await records.sync()
        enqueue(record)
        return record
    }

    /// - Throws: `.unknown`, `.record`.
    package func find(_ guid: String) async throws(StagingError) -> StagingRecord {
        guard StagingRecord.isGUID(guid) else { throw .unknown(guid: guid) }
        switch try await records.find(try key(guid), as: StagingRecord.self) {
        case .missing: throw .unknown(guid: guid)
        case .stored(let stored): return stored.value
        case .unreadable(let record): throw .record(.unreadable(record))
        }
    }

    /// Ends a task that waits or runs; one that has ended stays as it is.
    /// - Throws: `.unknown`, `.record`.
    package func cancel(_ guid: String, by user: String) async throws(StagingError) {
        let record = try await find(guid)
        guard !record.state.isFinal else { return }
        logger.notice("staging cancelled", metadata: ["guid": "\(guid)", "by": "\(user)"])
        let (wasWaiting, task) = state.withLock { state in
            let wasWaiting = state.queue.remove(guid, space: record.space)
            if !wasWaiting { state.unwanted.insert(guid) }
            return (wasWaiting, state.running[guid])
        }
        task?.cancel()
        guard wasWaiting else { return }
        do throws(StagingError) { try await end(guid, .cancelled, TaskLog()) } catch {
            // It waits again, so that it is not forgotten.
            state.withLock { $0.queue.add(guid, space: record.space) }
            work.yield(.look)
            throw error
        }
    }

    /// Takes the outcome that a task's step reports; whatever else runs for the task is ended. The same report again
    /// changes nothing.
    /// - Throws: `.unknown`, `.decided`, `.record`.
    package func complete(_ guid: String, _ outcome: StagingOutcome) async throws(StagingError) -> StagingRecord {
        var record = try await find(guid)
        if !record.state.isFinal {
            let log = state.withLock { $0.logs[guid] } ?? TaskLog()
            try await end(guid, outcome, log)
            let task = state.withLock { state in
                _ = state.queue.remove(guid, space: record.space)
                return state.running[guid]
            }
            task?.cancel()
            record = try await find(guid)
        }
        guard record.has(outcome) else { throw .decided(guid: guid) }
        return record
    }

    /// What an operator looks at: what runs, the first of what waits, and what ended last, the newest first.
    package func recent() async throws(StagingError) -> [StagingRecord] {
        let guids = state.withLock { state in
            Array(state.running.keys) + state.queue.guids.prefix(Self.shown) + state.ended
        }
        var found: [String: StagingRecord] = [:]
        for guid in guids {
            if let record = try await records.readable(try key(guid), as: StagingRecord.self)?.value {
                found[guid] = record
            }
        }
        return found.values.sorted { ($0.created, $0.guid) > ($1.created, $1.guid) }
    }

    /// What a task printed so far.
    package enum Log: Sendable {
        /// It has not ended: more may come.
        case open(TaskLog)
        case closed([UInt8])
    }

    /// - Throws: `.unknown`, `.record`.
    package func log(_ guid: String) async throws(StagingError) -> Log {
        if let log = state.withLock({ $0.logs[guid] }) { return .open(log) }
        _ = try await find(guid)
        do throws(ObjectStoreError) {
            return .closed(try await records.store.get(try ObjectKey(Self.logs + guid)).bytes)
        } catch {
            if case .missing = error { return .closed([]) }
            throw .record(.store(error))
        }
    }

    // MARK: Running

    /// Runs tasks and tells outcomes until the caller's task is cancelled.
    package func run() async {
        await withDiscardingTaskGroup { group in
            await load()
            for await job in jobs {
                if Task.isCancelled { break }
                switch job {
                case .look:
                    while let (guid, space) = next() {
                        group.addTask {
                            await self.run(guid, space)
                            self.work.yield(.look)
                        }
                    }
                case .tell(let guid):
                    guard state.withLock({ $0.told.insert(guid).inserted }) else { continue }
                    group.addTask {
                        await self.teller.tell(guid)
                        self.state.withLock { _ = $0.told.remove(guid) }
                    }
                }
            }
            state.withLock { $0.isStopping = true }
            group.cancelAll()
        }
    }

    /// Ends what runs, for a process that is about to end: it is queued again by the next one.
    package func stop() {
        let (running, ending) = state.withLock { state in
            state.isStopping = true
            return (Array(state.running.values), Array(state.ending.values))
        }
        for task in running { task.cancel() }
        for task in ending { task.cancel() }
        work.finish()
    }

    private func next() -> (guid: String, space: String)? {
        state.withLock { state in
            guard !state.isStopping, state.runningCount < limits.running, let next = state.queue.next() else {
                return nil
            }
            state.runningCount += 1
            return next
        }
    }

    private func enqueue(_ record: StagingRecord) {
        let isNew = state.withLock { state in
            // A task with a log is known: it came while earlier ones were loaded.
            guard state.logs[record.guid] == nil else { return false }
            state.queue.add(record.guid, space: record.space)
            state.logs[record.guid] = TaskLog()
            return true
        }
        if isNew { work.yield(.look) }
    }

    /// Queues what an earlier process left, and goes on telling outcomes.
    private func load() async {
        do {
            var waiting: [StagingRecord] = []
            var ended: [(Int64, String)] = []
            try await records.forEach(StagingRecord.prefix) { (key) throws(StagingError) in
                guard let record = try await records.readable(key, as: StagingRecord.self)?.value else { return }
                if !record.state.isFinal {
                    waiting.append(record)
                } else {
                    ended.append((record.ended ?? 0, record.guid))
                    if record.delivery?.state == .pending { work.yield(.tell(guid: record.guid)) }
                }
            }
            let last = ended.sorted { $0 > $1 }.prefix(Self.shown).map(\.1)
            state.withLock { $0.ended = Array(($0.ended + last).prefix(Self.shown)) }
            for record in waiting.sorted(by: { ($0.created, $0.guid) < ($1.created, $1.guid) }) { enqueue(record) }
            try await prune()
        } catch {
            logger.error("staging tasks can't be read", metadata: ["reason": "\(error)"])
        }
        work.yield(.look)
    }

    private func run(_ guid: String, _ space: String) async {
        let log = state.withLock { $0.logs[guid] } ?? TaskLog()
        let task = Task { await attempt(guid, log) }
        let isUnwanted = state.withLock { state in
            state.running[guid] = task
            return state.isStopping || state.unwanted.contains(guid)
        }
        if isUnwanted { task.cancel() }
        let outcome = await withTaskCancellationHandler {
            await task.value
        } onCancel: {
            task.cancel()
        }
        if let outcome {
            // A task of its own: what ends the attempt, a user for example, does not end the writing.
            let ending = Task {
                _ = await insist(guid) { () throws(StagingError) in try await end(guid, outcome, log) }
            }
            let isStopping = state.withLock { state in
                state.ending[guid] = ending
                return state.isStopping
            }
            if isStopping { ending.cancel() }
            await ending.value
        }
        log.close()
        state.withLock { state in
            state.running[guid] = nil
            state.ending[guid] = nil
            state.unwanted.remove(guid)
            state.runningCount -= 1
            state.queue.end(space: space)
        }
    }

    /// - Returns: the task's outcome; nil if it has one already, or the process ends before there is one.
    private func attempt(_ guid: String, _ log: TaskLog) async -> StagingOutcome? {
        let started = await insist(guid) { () throws(StagingError) in
            try await records.update(
                try key(guid), as: StagingRecord.self
            ) { (found) throws(StagingError) -> RecordChange<StagingRecord> in
                guard var record = found?.value, !record.state.isFinal else { return .keep }
                record.state = .running
                record.started = record.started ?? now()
                record.attempts += 1
                return .write(record)
            }
        }
        guard let started else { return state.withLock { $0.unwanted.contains(guid) } ? .cancelled : nil }
        guard let record = started?.value, !record.state.isFinal else {
            state.withLock { $0.logs[guid] = nil }
            return nil
        }
        guard record.attempts <= Self.maximumAttempts else {
            let message = "the server ended while the task ran, \(Self.maximumAttempts) times"
            return .failed(StagingFailure(phase: "start", message: message))
        }
        guard let json = record.request, let request = try? StagingRequest(json) else {
            return .failed(StagingFailure(phase: "start", message: "the task's request can't be read"))
        }
        let outcome = await runner.run(guid, request) { log.add($0) }
        let (isStopping, isUnwanted) = state.withLock { ($0.isStopping, $0.unwanted.contains(guid)) }
        // Ended by the server's end, not by a user: the next server begins it again.
        return outcome == .cancelled && isStopping && !isUnwanted ? nil : outcome
    }

    /// Changes a task's record, again until the store takes the change: a full disk, for example, may have room later.
    /// - Returns: nil if the caller's task is cancelled before, or the record is none.
    private func insist<Value>(
        _ guid: String, _ change: () async throws(StagingError) -> Value
    ) async -> Value? {
        var pause = limits.firstPause
        while true {
            do throws(StagingError) { return try await change() } catch {
                let isLasting =
                    switch error {
                    case .record(.store), .record(.contended): false
                    default: true
                    }
                logger.error(
                    "a staging task's state can't be written",
                    metadata: ["guid": "\(guid)", "reason": "\(error)", "again": "\(!isLasting)"])
                if isLasting { return nil }
            }
            guard (try? await Task.sleep(for: pause)) != nil else { return nil }
            pause = min(pause * 2, limits.longestPause)
        }
    }

    /// Writes the outcome, unless there is one: from then on the record holds no secret but the callback's.
    private func end(_ guid: String, _ outcome: StagingOutcome, _ log: TaskLog) async throws(StagingError) {
        log.close()
        let bytes = log.bytes
        if !bytes.isEmpty {
            // Without its log a task is what it is.
            do throws(ObjectStoreError) {
                try await records.store.put(try ObjectKey(Self.logs + guid), bytes, if: .always)
            } catch {
                logger.warning("a staging task's log can't be kept", metadata: ["guid": "\(guid)"])
            }
        }
        var isFirst = false
        let stored = try await records.update(
            try key(guid), as: StagingRecord.self
        ) { (found) throws(StagingError) -> RecordChange<StagingRecord> in
            isFirst = false
            guard var record = found?.value, !record.state.isFinal else { return .keep }
            isFirst = true
            let callback = record.request.flatMap { try? StagingRequest($0) }?.callback
            record.ended = now()
            record.request = nil
            let body: JSONValue
            switch outcome {
            case .staged(let droplet):
                record.state = .staged
                record.droplet = droplet
                body = ["result": droplet.result]
            case .failed(let failure):
                record.state = .failed
                record.failure = failure
                body = Self.error(failure.id, failure.message)
            case .cancelled:
                record.state = .cancelled
                body = Self.error(.other, "the staging was cancelled")
            }
            record.delivery = callback.map { .init(state: .pending, url: $0, body: body) }
            return .write(record)
        }
        guard let record = stored?.value else { return }
        if isFirst {
            var event: JSONObject = [
                "guid": .string(guid), "app": .string(record.app), "space": .string(record.space),
                "state": .string(record.state.rawValue),
            ]
            event["droplet"] = record.droplet.map { .string($0.digest.description) }
            events?.add("staging.ended", .object(event))
            logger.notice(
                "staging ended",
                metadata: [
                    "guid": "\(guid)", "state": "\(record.state.rawValue)",
                    "reason": "\(record.failure?.message ?? "")",
                ])
        }
        try await records.sync()
        state.withLock { state in
            state.logs[guid] = nil
            state.ended = Array(([guid] + state.ended.filter { $0 != guid }).prefix(Self.shown))
        }
        if record.delivery?.state == .pending { work.yield(.tell(guid: guid)) }
        try await prune()
    }

    private static func error(_ id: StagingFailure.ID, _ message: String) -> JSONValue {
        ["error": ["id": .string(id.rawValue), "message": .string(message)]]
    }

    // MARK: Keeping

    /// Removes the oldest of the ended tasks, with their logs.
    private func prune() async throws(StagingError) {
        var keys: [ObjectKey] = []
        try await records.forEach(StagingRecord.prefix) { (key) throws(StagingError) in keys.append(key) }
        guard keys.count > limits.kept + limits.kept / 10 + 1 else { return }
        var ended: [(ended: Int64, key: ObjectKey, guid: String)] = []
        for key in keys {
            guard let record = try await records.readable(key, as: StagingRecord.self)?.value, record.state.isFinal,
                record.delivery?.state != .pending
            else { continue }
            ended.append((record.ended ?? 0, key, record.guid))
        }
        for (_, key, guid) in ended.sorted(by: { $0.ended > $1.ended }).dropFirst(limits.kept) {
            try await records.remove(key)
            let log = try StagingError.key(Self.logs + guid)
            try await StagingError.ofStore(await records.store.delete(log, ifVersion: nil))
        }
        try await records.sync()
    }

    private func key(_ guid: String) throws(StagingError) -> ObjectKey {
        try StagingError.key(StagingRecord.prefix + guid)
    }
}

/// The records of staging tasks for verification; they name no content.
package struct StagingTaskRecords: ContentOwner {
    package init() {}

    package var records: [RecordFolder] { [StagingTasks.folder] }

    package func roots(_ mark: inout RootMark) async throws {}
}
