package import JSON
package import Logging
package import Metrics
package import ObjectStore
package import Records
import Synchronization

/// Runs operations, keeps their records and cancels them on request.
///
/// For other processes the records are the truth; of this process' own operations the runner knows the state earlier.
package final class OperationRunner: Sendable {
    package typealias Work = @Sendable (RunningOperation) async throws -> JSONValue
    private typealias Job = (operation: RunningOperation, work: Work)

    /// The most operations that run at the same time in this process, including those that wait for others.
    package static let maximumRunning = 64
    /// How many ended operations of each kind are kept.
    package static let maximumEnded = 20
    /// How long an owner counts as alive after it last renewed a record, in nanoseconds.
    private static let lease: Int64 = 60_000_000_000

    private struct State {
        var operations: [String: RunningOperation] = [:]
        var isStopping = false
    }

    package static let folder = RecordFolder(
        OperationRecord.prefix, [RecordKind("operation", OperationRecord.self)])

    private let records: RecordStore<OperationError>
    private let isExclusive: Bool
    private let describe: @Sendable (any Error) -> OperationRecord.Failure
    private let now: @Sendable () -> Int64
    private let pause: @Sendable () async throws -> Void
    private let logger: Logger
    private let metrics: OperationMetrics
    private let owner = OperationRunner.word(16)
    private let state = Mutex(State())
    private let jobs: AsyncStream<Job>
    private let queue: AsyncStream<Job>.Continuation
    private let wakes: AsyncStream<Void>
    private let alarm: AsyncStream<Void>.Continuation

    /// - Parameters:
    ///   - isExclusive: whether no other process works on the store, so that any other owner in the records is gone.
    ///   - describe: turns an error into the failure that a record shows.
    ///   - now: nanoseconds since 1970.
    ///   - pause: waits until the records are to be written again; it must be well below the lease of a minute.
    ///   - metrics: creates the counters and timers.
    package init(
        store: any ObjectStore, unreadable: UnreadableRecords = UnreadableRecords(), isExclusive: Bool,
        describe: @escaping @Sendable (any Error) -> OperationRecord.Failure, now: @escaping @Sendable () -> Int64,
        pause: @escaping @Sendable () async throws -> Void = { try await Task.sleep(for: .seconds(5)) },
        logger: Logger, metrics: any MetricsFactory = MetricsSystem.factory
    ) {
        self.metrics = OperationMetrics(metrics)
        records = RecordStore(store, unreadable: unreadable)
        self.isExclusive = isExclusive
        self.describe = describe
        self.now = now
        self.pause = pause
        self.logger = logger
        (jobs, queue) = AsyncStream.makeStream()
        (wakes, alarm) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    // MARK: What others ask for

    /// Begins work in the background. Its record is durable on return, unless the store is full.
    /// - Throws: `.running`, `.tooMany`, `.stopping`, `.record`.
    @discardableResult
    package func begin(_ request: OperationRequest, _ work: @escaping Work) async throws(OperationError)
        -> OperationRecord
    {
        let operation = try await open(request)
        enqueue(operation, work)
        return operation.record
    }

    /// Runs work within the caller's task, because its input comes from there: if the task is cancelled, so is the
    /// work.
    /// - Parameters:
    ///   - report: the operation's report for a result.
    ///   - then: the rest of the work, which runs in the background, for a result; nil if there is none.
    /// - Returns: the work's result, and the operation's record.
    /// - Throws: as `begin`; `.cancelled` if a user cancelled it; what the work throws.
    package func attend<Value: Sendable>(
        _ request: OperationRequest, _ work: @escaping @Sendable (RunningOperation) async throws -> Value,
        report: (Value) -> JSONValue, then: (Value) -> Work?
    ) async throws -> (value: Value, record: OperationRecord) {
        let operation = try await open(request)
        switch await operation.run(work) {
        case .success(let value):
            if let next = then(value) {
                operation.advance(to: nil, report(value))
                enqueue(operation, next)
            } else {
                end(operation, .success(report(value)))
            }
            return (value, operation.record)
        case .failure(let error):
            let who = operation.record.cancelledBy
            end(operation, .failure(error))
            throw who.map { OperationError.cancelled(by: $0) } ?? error
        }
    }

    /// All operations on record, the newest first.
    package func list() async throws(OperationError) -> [OperationRecord] {
        var found: [String: OperationRecord] = [:]
        try await records.forEach(OperationRecord.prefix) { (key) throws(OperationError) in
            guard let record: StoredRecord<OperationRecord> = try await records.readable(key) else { return }
            found[record.value.id] = record.value
        }
        for operation in state.withLock({ Array($0.operations.values) }) { found[operation.id] = operation.record }
        return found.values.sorted { ($0.begun, $0.id) > ($1.begun, $1.id) }
    }

    /// - Throws: `.unknown`.
    package func find(_ id: String) async throws(OperationError) -> OperationRecord {
        if let own = state.withLock({ $0.operations[id] }) { return own.record }
        guard let record: StoredRecord<OperationRecord> = try await records.read(try OperationRecord.key(id)) else {
            throw .unknown(id: id)
        }
        return record.value
    }

    /// Asks for an operation's cancellation. It may still end in another way.
    /// - Throws: `.unknown`, `.ended`.
    package func cancel(_ id: String, by who: String) async throws(OperationError) -> OperationRecord {
        if let own = state.withLock({ $0.operations[id] }) {
            guard own.record.state == .running else { throw .ended(id: id) }
            own.cancel(by: who)
            alarm.yield()
            return own.record
        }
        let changed = try await records.update(try OperationRecord.key(id), as: OperationRecord.self) {
            (stored) throws(OperationError) -> RecordChange<OperationRecord> in
            guard var record = stored?.value else { return .keep }
            guard record.state == .running else { throw .ended(id: id) }
            record.cancelledBy = record.cancelledBy ?? who
            return .write(record)
        }
        guard let changed else { throw .unknown(id: id) }
        return changed.value
    }

    // MARK: Its own life

    /// Marks running operations whose owner is gone as interrupted. Call it at the start, before requests are served.
    package func interruptLost() async throws(OperationError) {
        try await records.forEach(OperationRecord.prefix) { (key) throws(OperationError) in
            guard let stored: StoredRecord<OperationRecord> = try await records.readable(key), isLost(stored.value)
            else { return }
            let changed = try await records.update(key, as: OperationRecord.self) {
                (stored) throws(OperationError) -> RecordChange<OperationRecord> in
                guard var record = stored?.value, isLost(record) else { return .keep }
                record.state = .interrupted
                record.ended = now()
                record.failure = .init(code: "interrupted", message: "the server that did it went away")
                return .write(record)
            }
            if let changed { log(changed.value) }
        }
    }

    /// Runs operations until `stop` is called. Then what runs is cancelled, and recorded as interrupted on return.
    package func run() async {
        await withTaskGroup(of: Void.self) { writer in
            writer.addTask {
                for await _ in self.wakes { await self.writeDown() }
            }
            await withTaskGroup(of: Void.self) { timer in
                timer.addTask {
                    while (try? await self.pause()) != nil { self.alarm.yield() }
                }
                await withDiscardingTaskGroup { work in
                    for await job in jobs {
                        work.addTask {
                            let result = await job.operation.run(job.work)
                            self.end(job.operation, result)
                        }
                    }
                }
                timer.cancelAll()
            }
            // The writer is not cancelled, because a write would be left half done.
            alarm.finish()
        }
        await writeDown()
    }

    /// Cancels operations in the background and takes no new ones. One within a caller's task ends with that task.
    package func stop() {
        let operations = state.withLock { state in
            state.isStopping = true
            return Array(state.operations.values)
        }
        // The queue is finished first: later jobs are refused, and earlier ones have set `isQueued`, so the loop
        // cancels them.
        queue.finish()
        for operation in operations where operation.isQueued { operation.cancel(by: nil) }
    }

    private func open(_ request: OperationRequest) async throws(OperationError) -> RunningOperation {
        if request.isAlone, !isExclusive,
            let other = try await list().first(where: { $0.kind == request.kind && $0.state == .running && !isLost($0) }
            )
        {
            throw .running(kind: request.kind, id: other.id)
        }
        let time = now()
        let operation = RunningOperation(
            OperationRecord(
                request, id: Self.id(time), owner: owner, begun: time, lease: time + Self.lease))
        let failure: OperationError? = state.withLock { state in
            if state.isStopping { return .stopping }
            let running = state.operations.values.map(\.record).filter { $0.state == .running }
            if request.isAlone, let other = running.first(where: { $0.kind == request.kind }) {
                return .running(kind: request.kind, id: other.id)
            }
            guard running.count < Self.maximumRunning else { return .tooMany }
            state.operations[operation.id] = operation
            return nil
        }
        if let failure { throw failure }
        do throws(OperationError) {
            try await records.write(operation.record, at: try OperationRecord.key(operation.id))
            try await records.sync()
        } catch .record(.store(.full)) {
            // The work runs all the same, because it may be the garbage collection that makes room.
            operation.keepUnwritten()
        } catch {
            _ = state.withLock { $0.operations.removeValue(forKey: operation.id) }
            throw error
        }
        log(operation.record)
        return operation
    }

    private func enqueue(_ operation: RunningOperation, _ work: @escaping Work) {
        operation.isQueued = true
        if case .terminated = queue.yield((operation, work)) { end(operation, .failure(OperationError.stopping)) }
    }

    private func end(_ operation: RunningOperation, _ result: Result<JSONValue, any Error>) {
        operation.end(result, at: now(), describe: describe)
        metrics.ended(operation.record)
        log(operation.record)
        alarm.yield()
    }

    /// Writes changed records, and cancels operations whose cancellation another process has recorded.
    private func writeDown() async {
        for operation in state.withLock({ Array($0.operations.values) }) {
            guard let record = operation.unwritten(lease: now() + Self.lease, renews: !isExclusive) else { continue }
            do {
                let stored = try await records.update(
                    try OperationRecord.key(record.id), as: OperationRecord.self, replacingDamaged: true
                ) { (stored) throws(OperationError) -> RecordChange<OperationRecord> in
                    var record = record
                    record.cancelledBy = record.cancelledBy ?? stored?.value.cancelledBy
                    return .write(record)
                }
                if record.state == .running {
                    if record.cancelledBy == nil, let who = stored?.value.cancelledBy { operation.cancel(by: who) }
                } else {
                    try await records.sync()
                    _ = state.withLock { $0.operations.removeValue(forKey: operation.id) }
                    try await forgetOld(record.kind)
                }
            } catch {
                operation.keepUnwritten()
                logger.warning(
                    "an operation can't be written down: it is tried again",
                    metadata: ["operation": "\(operation.id)", "reason": "\(error)"])
            }
        }
        if !isExclusive { try? await interruptLost() }
    }

    /// Removes the oldest ended operations of a kind, all but `maximumEnded`.
    private func forgetOld(_ kind: String) async throws(OperationError) {
        let ended = try await list().filter { $0.kind == kind && $0.state != .running }
        for record in ended.dropFirst(Self.maximumEnded) {
            try await records.remove(try OperationRecord.key(record.id))
        }
    }

    private func isLost(_ record: OperationRecord) -> Bool {
        record.state == .running && record.owner != owner && (isExclusive || record.lease < now())
    }

    private func log(_ record: OperationRecord) {
        var metadata: Logger.Metadata = [
            "operation": "\(record.id)", "kind": "\(record.kind)", "by": "\(record.by ?? "")",
            "state": "\(record.state.rawValue)",
        ]
        for (name, value) in record.parameters { metadata[name] = "\(value)" }
        if let failure = record.failure { metadata["reason"] = "\(failure.message)" }
        logger.log(level: record.state == .failed ? .warning : .notice, "operation", metadata: metadata)
    }

    /// An id that begins with the time, so that ids sort by it.
    private static func id(_ time: Int64) -> String {
        let digits = String(max(time, 0), radix: 36)
        return String(repeating: "0", count: max(0, 13 - digits.count)) + digits + "-" + word(4)
    }

    private static func word(_ length: Int) -> String {
        String((0..<length).map { _ in "abcdefghijklmnopqrstuvwxyz0123456789".randomElement() ?? "a" })
    }
}

/// Counts ended operations by kind and outcome (`operations`), and measures how long they took (`operation_duration`).
private final class OperationMetrics: Sendable {
    /// The most kinds that have metrics of their own; others count as `other`.
    private static let maximumKinds = 32

    private struct Kind: Sendable {
        let counters: [String: Counter]
        let duration: Timer

        init(_ kind: String, _ factory: any MetricsFactory) {
            counters = Dictionary(
                uniqueKeysWithValues: OperationRecord.State.allCases.map { state in
                    let dimensions = [("kind", kind), ("outcome", state.rawValue)]
                    return (state.rawValue, Counter(label: "operations", dimensions: dimensions, factory: factory))
                })
            duration = Timer(label: "operation_duration", dimensions: [("kind", kind)], factory: factory)
        }
    }

    private let factory: any MetricsFactory
    private let kinds = Mutex<[String: Kind]>([:])

    init(_ factory: any MetricsFactory) { self.factory = factory }

    func ended(_ record: OperationRecord) {
        let handles = kinds.withLock { kinds in
            let name = kinds[record.kind] != nil || kinds.count < Self.maximumKinds ? record.kind : "other"
            if let known = kinds[name] { return known }
            let made = Kind(name, factory)
            kinds[name] = made
            return made
        }
        handles.counters[record.state.rawValue]?.increment()
        if let ended = record.ended { handles.duration.recordNanoseconds(max(0, ended - record.begun)) }
    }
}
