import Synchronization

/// The calls of an object store, its readers and its writers, by which statistics count.
public enum ObjectOperation: String, Sendable, CaseIterable {
    case put, get, head, delete, list, listComponents, open, read, writer, write, rest, finish, presign, sync
}

/// How often a call was made, and how long it took.
public struct ObjectOperationStatistics: Hashable, Sendable {
    public internal(set) var count = 0
    /// How many of the calls threw.
    public internal(set) var failures = 0
    public internal(set) var total = Duration.zero
    public internal(set) var longest = Duration.zero

    public init() {}
}

/// A store around another one that counts and times calls. It can also make them fail, either before they are made or
/// afterwards, as if the answer were lost.
public final class InstrumentedObjectStore: ObjectStore {
    /// Called before each call; what it throws is thrown instead of making the call. The key is nil for calls that
    /// have none.
    public typealias Fault = @Sendable (ObjectOperation, ObjectKey?) throws(ObjectStoreError) -> Void

    /// What becomes of the answer to a call.
    public enum Answer: Hashable, Sendable {
        case given
        /// The call is made, and then fails with `.unknown`.
        case lost
        /// The call fails with `.unknown`, and is made when `arrive` is called.
        case late
    }
    public typealias Loss = @Sendable (ObjectOperation, ObjectKey?) -> Answer

    private let base: any ObjectStore
    private let recorder: Recorder

    /// - Parameter loss: says for each call what becomes of its answer.
    public init(_ base: any ObjectStore, fault: Fault? = nil, loss: Loss? = nil) {
        self.base = base
        recorder = Recorder(fault: fault, loss: loss)
    }

    public var capabilities: ObjectStoreCapabilities { base.capabilities }

    /// Makes the calls whose answers are late, in order, and ignores their results.
    public func arrive() async { await recorder.arrive() }

    /// The statistics of all calls up to now.
    public var statistics: [ObjectOperation: ObjectOperationStatistics] { recorder.statistics }

    @discardableResult
    public func put(
        _ key: ObjectKey, _ bytes: [UInt8], if condition: PutCondition
    ) async throws(ObjectStoreError) -> ObjectVersion {
        try await recorder.record(.put, key) { () async throws(ObjectStoreError) in
            try await self.base.put(key, bytes, if: condition)
        }
    }

    public func get(_ key: ObjectKey) async throws(ObjectStoreError) -> StoredObject {
        try await recorder.record(.get, key) { () async throws(ObjectStoreError) in try await self.base.get(key) }
    }

    public func getNow(_ key: ObjectKey) async throws(ObjectStoreError) -> StoredObject {
        try await recorder.record(.get, key) { () async throws(ObjectStoreError) in try await self.base.getNow(key) }
    }

    public func head(_ key: ObjectKey) async throws(ObjectStoreError) -> ObjectInfo {
        try await recorder.record(.head, key) { () async throws(ObjectStoreError) in try await self.base.head(key) }
    }

    public func delete(_ key: ObjectKey, ifVersion version: ObjectVersion?) async throws(ObjectStoreError) {
        try await recorder.record(.delete, key) { () async throws(ObjectStoreError) in
            try await self.base.delete(key, ifVersion: version)
        }
    }

    public func list(
        prefix: String, startAfter: String?, limit: Int
    ) async throws(ObjectStoreError) -> [ObjectInfo] {
        try await recorder.record(.list, nil) { () async throws(ObjectStoreError) in
            try await self.base.list(prefix: prefix, startAfter: startAfter, limit: limit)
        }
    }

    public func listComponents(
        below prefix: String, startAfter: String?, limit: Int
    ) async throws(ObjectStoreError) -> [String] {
        try await recorder.record(.listComponents, nil) { () async throws(ObjectStoreError) in
            try await self.base.listComponents(below: prefix, startAfter: startAfter, limit: limit)
        }
    }

    public func open(_ key: ObjectKey) async throws(ObjectStoreError) -> any ObjectReader {
        try await recorder.record(.open, key) { () async throws(ObjectStoreError) in
            InstrumentedObjectReader(base: try await self.base.open(key), recorder: self.recorder)
        }
    }

    public func writer(for key: ObjectKey, use: ObjectUse) async throws(ObjectStoreError) -> any ObjectWriter {
        try await recorder.record(.writer, key) { () async throws(ObjectStoreError) in
            InstrumentedObjectWriter(
                base: try await self.base.writer(for: key, use: use), key: key, recorder: self.recorder)
        }
    }

    public func presignedURL(for key: ObjectKey, lifetime: Duration) async throws(ObjectStoreError) -> String? {
        try await recorder.record(.presign, key) { () async throws(ObjectStoreError) in
            try await self.base.presignedURL(for: key, lifetime: lifetime)
        }
    }

    public func sync() async throws(ObjectStoreError) {
        try await recorder.record(.sync, nil) { () async throws(ObjectStoreError) in try await self.base.sync() }
    }
}

extension InstrumentedObjectStore {
    fileprivate final class Recorder: Sendable {
        private let fault: Fault?
        private let loss: Loss?
        private let late = Mutex<[@Sendable () async -> Void]>([])
        private let counts = Mutex<[ObjectOperation: ObjectOperationStatistics]>([:])

        init(fault: Fault?, loss: Loss?) {
            self.fault = fault
            self.loss = loss
        }

        func arrive() async {
            let calls = late.withLock { late in
                defer { late = [] }
                return late
            }
            for call in calls { await call() }
        }

        var statistics: [ObjectOperation: ObjectOperationStatistics] { counts.withLock { $0 } }

        func record<Value>(
            _ operation: ObjectOperation, _ key: ObjectKey?,
            _ call: @escaping @Sendable () async throws(ObjectStoreError) -> Value
        ) async throws(ObjectStoreError) -> Value {
            let start = ContinuousClock.now
            do throws(ObjectStoreError) {
                try fault?(operation, key)
                let answer = loss?(operation, key) ?? .given
                if answer == .late {
                    late.withLock { $0.append { _ = try? await call() } }
                    throw .unknown("the answer is late")
                }
                let value = try await call()
                if answer == .lost { throw .unknown("the answer was lost") }
                count(operation, start, failed: false)
                return value
            } catch {
                count(operation, start, failed: true)
                throw error
            }
        }

        private func count(_ operation: ObjectOperation, _ start: ContinuousClock.Instant, failed: Bool) {
            let duration = start.duration(to: .now)
            counts.withLock { counts in
                var statistics = counts[operation] ?? ObjectOperationStatistics()
                statistics.count += 1
                if failed { statistics.failures += 1 }
                statistics.total += duration
                statistics.longest = max(statistics.longest, duration)
                counts[operation] = statistics
            }
        }
    }
}

private struct InstrumentedObjectReader: ObjectReader {
    let base: any ObjectReader
    let recorder: InstrumentedObjectStore.Recorder

    var info: ObjectInfo { base.info }

    func read(at offset: Int64, maximum: Int) async throws(ObjectStoreError) -> [UInt8] {
        try await recorder.record(.read, info.key) { () async throws(ObjectStoreError) in
            try await self.base.read(at: offset, maximum: maximum)
        }
    }

    func close() async { await base.close() }
}

private struct InstrumentedObjectWriter: ObjectWriter {
    let base: any ObjectWriter
    let key: ObjectKey
    let recorder: InstrumentedObjectStore.Recorder

    func write(_ bytes: [UInt8]) async throws(ObjectStoreError) {
        try await recorder.record(.write, key) { () async throws(ObjectStoreError) in try await self.base.write(bytes) }
    }

    func rest() async throws(ObjectStoreError) {
        try await recorder.record(.rest, key) { () async throws(ObjectStoreError) in try await self.base.rest() }
    }

    func finish() async throws(ObjectStoreError) -> ObjectInfo {
        try await recorder.record(.finish, key) { () async throws(ObjectStoreError) in try await self.base.finish() }
    }

    func abort() async { await base.abort() }
}
