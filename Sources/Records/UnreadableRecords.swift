public import Logging
package import ObjectStore
import Synchronization

/// The records that were met and can't be read: each is logged once, and counted until it can be read again, is written
/// over or is gone.
public final class UnreadableRecords: Sendable {
    /// More are counted by nobody: that is a broken store, and not a few broken records.
    package static let maximum = 1000

    private let records = Mutex<[ObjectKey: UnreadableRecord]>([:])
    private let logger: Logger?

    /// - Parameter logger: nil: nothing is logged.
    public init(logger: Logger? = nil) { self.logger = logger }

    /// In the order of their keys.
    package var all: [UnreadableRecord] { records.withLock { $0.values.sorted { $0.key < $1.key } } }

    /// When the youngest was written of those that may name content, by the store's clock, in nanoseconds since 1970: they
    /// name nothing that is younger. nil if there are none.
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

/// A kind of record, for who goes through all that a store has: which keys it has, and whether one of them can be read.
package struct RecordKind: Sendable {
    /// For people, as in `rootfs version`.
    package let name: String
    package let isKey: @Sendable (ObjectKey) -> Bool
    let find:
        @Sendable (any ObjectStore, UnreadableRecords, ObjectKey) async throws(ObjectStoreError) -> UnreadableRecord?

    /// - Parameter isKey: asked of keys below the prefixes of the kind's owner alone.
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

    /// Looks at each record.
    ///
    /// A key of no kind that is known is one of a newer version of Cistern.
    /// - Parameter body: gets those that can't be read, and what kind they are of.
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
