public import Logging
package import ObjectStore
import Synchronization

/// The records that were met and can't be read. Each is logged once, and kept here until it is read successfully,
/// overwritten or gone.
public final class UnreadableRecords: Sendable {
    /// No more than this many are kept: with more of them the whole store is broken.
    package static let maximum = 1000

    private let records = Mutex<[ObjectKey: UnreadableRecord]>([:])
    private let logger: Logger?

    /// - Parameter logger: nil to log nothing.
    public init(logger: Logger? = nil) { self.logger = logger }

    /// All of them, in the order of their keys.
    package var all: [UnreadableRecord] { records.withLock { $0.values.sorted { $0.key < $1.key } } }

    /// When the youngest record that may name content was written, in nanoseconds since 1970 by the store's clock:
    /// these records name nothing that is younger. nil if there are none; `Int64.max` if there are too many to know.
    package var mayNameContentBefore: Int64? {
        records.withLock { records in
            if records.count >= Self.maximum { return .max }
            return records.values.filter(\.namesContent).map(\.modified).max()
        }
    }

    package func contains(_ key: ObjectKey) -> Bool { records.withLock { $0[key] != nil } }

    package func note(_ record: UnreadableRecord) {
        let isNew = records.withLock { records in
            guard records.count < Self.maximum || records[record.key] != nil else { return false }
            return records.updateValue(record, forKey: record.key)?.version != record.version
        }
        guard isNew, let logger else { return }
        logger.error(
            "a record can't be read: it is left out, and what it may name is kept",
            metadata: ["key": "\(record.key)", "reason": "\(record.fault)"])
    }

    package func forget(_ key: ObjectKey) {
        records.withLock { records in
            if !records.isEmpty { records[key] = nil }
        }
    }
}

/// A kind of record, for a walk through a whole store: which keys belong to it, and whether a record can be read.
package struct RecordKind: Sendable {
    /// A name for people, such as `rootfs version`.
    package let name: String
    package let isKey: @Sendable (ObjectKey) -> Bool
    let find:
        @Sendable (any ObjectStore, UnreadableRecords, ObjectKey) async throws(ObjectStoreError) -> UnreadableRecord?

    /// - Parameter isKey: whether a key belongs to this kind; called only with keys below the prefixes of the kind's
    ///   owner.
    package init<Value: Record>(
        _ name: String, _: Value.Type, isKey: @escaping @Sendable (ObjectKey) -> Bool = { _ in true }
    ) {
        self.name = name
        self.isKey = isKey
        find = { (store, unreadable, key) throws(ObjectStoreError) in
            let records = RecordStore<ObjectStoreError>(store, unreadable: unreadable)
            if case .unreadable(let record) = try await records.find(key, as: Value.self) { return record }
            return nil
        }
    }
}

/// The records below a prefix, of several kinds.
package struct RecordFolder: Sendable {
    package let prefix: String
    package let kinds: [RecordKind]

    package init(_ prefix: String, _ kinds: [RecordKind]) {
        self.prefix = prefix
        self.kinds = kinds
    }

    /// Tries to read each record.
    ///
    /// A key that belongs to no kind is reported as a record of a newer version of Cistern.
    /// - Parameter body: called with each record that can't be read and the name of its kind.
    package func check<Failure: RecordFailure>(
        _ records: RecordStore<Failure>, _ body: (UnreadableRecord, _ kind: String) async throws(Failure) -> Void
    ) async throws(Failure) {
        try await records.forEach(prefix) { (key) throws(Failure) in
            guard let kind = kinds.first(where: { $0.isKey(key) }) else {
                if let record = try await records.stranger(key) { try await body(record, "unknown") }
                return
            }
            let record: UnreadableRecord?
            do throws(ObjectStoreError) {
                record = try await kind.find(records.store, records.unreadable, key)
            } catch { throw Failure(.store(error)) }
            if let record { try await body(record, kind.name) }
        }
    }
}

extension ObjectStoreError: RecordFailure {
    package init(_ error: RecordError) {
        switch error {
        case .store(let error): self = error
        case .unreadable(let record): self = .io(record.description)
        case .contended(let key): self = .changed(key)
        }
    }
}
