import Synchronization

/// Callers that want the same value at the same time wait for the first one's work instead of repeating it.
package final class SingleFlight<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    /// The callers that wait for each key's value. A key without an entry is not worked on, so the next caller has to.
    private let waiting = Mutex<[Key: [CheckedContinuation<Value?, Never>]]>([:])

    package init() {}

    /// A key's value, from the caller that works on it, or else from this one's own work.
    /// - Throws: what this caller's own work throws. If the caller that it waited for failed, it does the work itself.
    package func value<Failure: Error>(
        for key: Key, _ work: () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        while true {
            let isFirst = waiting.withLock { waiting in
                if waiting[key] != nil { return false }
                waiting[key] = []
                return true
            }
            if isFirst { return try await lead(key, work) }
            let value = await withCheckedContinuation { continuation in
                let isOver = waiting.withLock { waiting in
                    waiting[key]?.append(continuation) == nil
                }
                if isOver { continuation.resume(returning: nil) }
            }
            if let value { return value }
        }
    }

    private func lead<Failure: Error>(
        _ key: Key, _ work: () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        var result: Value?
        defer {
            let others = waiting.withLock { $0.removeValue(forKey: key) ?? [] }
            for other in others { other.resume(returning: result) }
        }
        let value = try await work()
        result = value
        return value
    }
}
