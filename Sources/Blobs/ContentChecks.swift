import Runtime
import Synchronization

/// Which bytes are known to be whole: this process wrote them, or hashed them when somebody wanted to read them.
///
/// So a disk's rotten bytes are not served, without each read costing a hash. Bytes rot while they lie there, not while
/// they are in use, and the scheduled verification reads everything again.
final class ContentChecks: Sendable {
    /// How many bytes' names are remembered; the least used are forgotten, and hashed once more when they are read.
    private static let maximumKnown = 1 << 16
    /// How many contents are hashed at the same time, so that a start with many clients does not become a queue: what
    /// finds no place is served unchecked, and checked at a later read.
    private static let maximumAtOnce = 4

    private let known = BoundedCache<DataID, Bool>(maximumCost: maximumKnown)
    private let flights = SingleFlight<DataID, Bool>()
    private let running = Mutex(0)

    /// Notes that bytes are whole.
    func add(_ id: DataID) { known.insert(true, for: id, cost: 1) }

    /// Whether bytes are whole, as far as is known.
    /// - Parameter check: hashes them. Several readers of the same bytes share one call.
    func isWhole(_ id: DataID, _ check: () async throws(BlobError) -> Bool) async throws(BlobError) -> Bool {
        if known.value(id) != nil { return true }
        let isWhole = try await flights.value(for: id) { () throws(BlobError) in
            let hasPlace = running.withLock { running in
                guard running < Self.maximumAtOnce else { return false }
                running += 1
                return true
            }
            guard hasPlace else { return true }
            defer { running.withLock { $0 -= 1 } }
            let isWhole = try await check()
            if isWhole { add(id) }
            return isWhole
        }
        return isWhole
    }
}
