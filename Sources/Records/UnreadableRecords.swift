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
