import Identity
import NIOCore
import Synchronization

/// How many requests a second a client address may make. What it did not use in the last minute it may make up for, so
/// that a rollout's pulls, all behind one NAT address, come through at once.
final class RequestLimiter: Sendable {
    /// Addresses that are remembered; those that were forgotten begin anew.
    static let addresses = 16_384
    /// For how long an address can save up.
    static let saved: Int64 = 60

    private let table: Mutex<AddressLimiter>
    private let now: @Sendable () -> NIODeadline

    /// - Parameter rate: requests a second.
    init(rate: Int, now: @escaping @Sendable () -> NIODeadline) {
        self.now = now
        let rate = max(1, min(rate, 1_000_000))
        table = Mutex(
            AddressLimiter(
                burst: rate * Int(Self.saved), interval: .nanoseconds(1_000_000_000 / Int64(rate)),
                maximum: Self.addresses))
    }

    /// Takes a request.
    /// - Throws: 429 with the seconds until the next one is taken.
    func take(_ address: ClientAddress) throws(HTTPFailure) {
        let now = now()
        guard let wait = table.withLock({ $0.take(address, now: now) }) else { return }
        throw .tooManyRequests(retryAfter: max(1, Int((wait.nanoseconds + 999_999_999) / 1_000_000_000)))
    }
}
