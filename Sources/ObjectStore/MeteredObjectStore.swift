public import Metrics

/// A store around another one that counts its calls by kind and outcome, and times them: `store_operations` and
/// `store_operation_duration` with the dimensions `operation` (`ObjectOperation`) and `outcome` (`Outcome`).
///
/// The metrics' handles are made once. Without a metrics backend they do nothing.
public struct MeteredObjectStore: ForwardingObjectStore {
    /// How a call ended.
    public enum Outcome: String, Sendable, CaseIterable {
        case ok, missing
        /// A condition did not hold: there was an object, or another version of it.
        case conflict
        case full
        /// The answer was lost.
        case unknown
        case cancelled, failed

        init(_ error: ObjectStoreError) {
            self =
                switch error {
                case .missing: .missing
                case .exists, .changed: .conflict
                case .full: .full
                case .unknown: .unknown
                case .cancelled: .cancelled
                case .invalidKey, .tooLarge, .permission, .owned, .io: .failed
                }
        }
    }

    public let base: any ObjectStore
    private let meters: Meters

    /// - Parameter factory: makes the counters and timers.
    public init(_ base: any ObjectStore, factory: any MetricsFactory = MetricsSystem.factory) {
        self.base = base
        meters = Meters(factory)
    }

    @discardableResult
    public func put(
        _ key: ObjectKey, _ bytes: [UInt8], if condition: PutCondition
    ) async throws(ObjectStoreError) -> ObjectVersion {
        try await meters.measure(.put) { () async throws(ObjectStoreError) in
            try await base.put(key, bytes, if: condition)
        }
    }

    public func get(_ key: ObjectKey) async throws(ObjectStoreError) -> StoredObject {
        try await meters.measure(.get) { () async throws(ObjectStoreError) in try await base.get(key) }
    }

    public func get(_ keys: [ObjectKey]) async throws(ObjectStoreError) -> [StoredObject?] {
        try await meters.measure(.get) { () async throws(ObjectStoreError) in try await base.get(keys) }
    }

    public func getNow(_ key: ObjectKey) async throws(ObjectStoreError) -> StoredObject {
        try await meters.measure(.get) { () async throws(ObjectStoreError) in try await base.getNow(key) }
    }

    public func head(_ key: ObjectKey) async throws(ObjectStoreError) -> ObjectInfo {
        try await meters.measure(.head) { () async throws(ObjectStoreError) in try await base.head(key) }
    }

    public func delete(_ key: ObjectKey, ifVersion version: ObjectVersion?) async throws(ObjectStoreError) {
        try await meters.measure(.delete) { () async throws(ObjectStoreError) in
            try await base.delete(key, ifVersion: version)
        }
    }

    public func list(
        prefix: String, startAfter: String?, limit: Int
    ) async throws(ObjectStoreError) -> [ObjectInfo] {
        try await meters.measure(.list) { () async throws(ObjectStoreError) in
            try await base.list(prefix: prefix, startAfter: startAfter, limit: limit)
        }
    }

    public func listComponents(
        below prefix: String, startAfter: String?, limit: Int
    ) async throws(ObjectStoreError) -> [String] {
        try await meters.measure(.listComponents) { () async throws(ObjectStoreError) in
            try await base.listComponents(below: prefix, startAfter: startAfter, limit: limit)
        }
    }

    public func open(_ key: ObjectKey) async throws(ObjectStoreError) -> any ObjectReader {
        try await meters.measure(.open) { () async throws(ObjectStoreError) in try await base.open(key) }
    }

    public func writer(for key: ObjectKey, use: ObjectUse) async throws(ObjectStoreError) -> any ObjectWriter {
        let writer = try await meters.measure(.writer) { () async throws(ObjectStoreError) in
            try await base.writer(for: key, use: use)
        }
        return MeteredObjectWriter(base: writer, meters: meters)
    }

    public func sync() async throws(ObjectStoreError) {
        try await meters.measure(.sync) { () async throws(ObjectStoreError) in try await base.sync() }
    }
}

private struct MeteredObjectWriter: ObjectWriter {
    let base: any ObjectWriter
    let meters: Meters

    func write(_ bytes: [UInt8]) async throws(ObjectStoreError) {
        try await meters.measure(.write) { () async throws(ObjectStoreError) in try await base.write(bytes) }
    }
    func rest() async throws(ObjectStoreError) {
        try await meters.measure(.rest) { () async throws(ObjectStoreError) in try await base.rest() }
    }
    func finish() async throws(ObjectStoreError) -> ObjectInfo {
        try await meters.measure(.finish) { () async throws(ObjectStoreError) in try await base.finish() }
    }
    func abort() async { await base.abort() }
}

private final class Meters: Sendable {
    private struct Handles: Sendable {
        let count: Counter
        let duration: Timer
    }

    private let handles: [ObjectOperation: [MeteredObjectStore.Outcome: Handles]]

    init(_ factory: any MetricsFactory) {
        func byCase<Key: Hashable & CaseIterable, Value>(_ value: (Key) -> Value) -> [Key: Value] {
            Dictionary(uniqueKeysWithValues: Key.allCases.map { ($0, value($0)) })
        }
        handles = byCase { operation in
            byCase { outcome in
                let dimensions = [("operation", operation.rawValue), ("outcome", outcome.rawValue)]
                return Handles(
                    count: Counter(label: "store_operations", dimensions: dimensions, factory: factory),
                    duration: Timer(label: "store_operation_duration", dimensions: dimensions, factory: factory))
            }
        }
    }

    func measure<Value>(
        _ operation: ObjectOperation, _ call: () async throws(ObjectStoreError) -> Value
    ) async throws(ObjectStoreError) -> Value {
        let start = ContinuousClock.now
        do throws(ObjectStoreError) {
            let value = try await call()
            count(operation, .ok, start)
            return value
        } catch {
            count(operation, MeteredObjectStore.Outcome(error), start)
            throw error
        }
    }

    private func count(
        _ operation: ObjectOperation, _ outcome: MeteredObjectStore.Outcome, _ start: ContinuousClock.Instant
    ) {
        guard let handles = handles[operation]?[outcome] else { return }
        handles.count.increment()
        let (seconds, attoseconds) = (ContinuousClock.now - start).components
        handles.duration.recordNanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }
}
