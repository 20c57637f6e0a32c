import Runtime
import Synchronization

/// A client's own bound of how often it asks: so many requests a second, and so many at once after a rest (a token
/// bucket, kept as the one time at which it would be full).
final class RequestRate: Sendable {
    /// Nanoseconds from one request to the next.
    private let interval: Int64
    private let burst: Int64
    private let full = Mutex<Int64>(.min)

    /// - Parameters:
    ///   - perSecond: more than 0.
    ///   - burst: at least 1.
    init(perSecond: Double, burst: Int) {
        interval = Int64(1_000_000_000 / min(max(perSecond, 0.001), 1_000_000))
        self.burst = Int64(max(burst, 1)) * interval
    }

    /// Takes a place in the order of the calls.
    /// - Returns: how long to wait for it, in nanoseconds; nil if that is longer than `limit`, and then none is taken.
    func reserve(at now: Int64, limit: Int64) -> Int64? {
        full.withLock { full in
            let next = max(full, now) + interval
            let wait = max(0, next - burst - now)
            guard wait <= limit else { return nil }
            full = next
            return wait
        }
    }
}
