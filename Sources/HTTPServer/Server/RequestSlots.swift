import Identity
import Synchronization

/// Places for requests that are worked on or answered, each of which may have a file open. Users, strangers and
/// operators have places of their own. Once three quarters of a kind are taken, a client that holds half of that
/// kind's number gets no more.
final class RequestSlots: Sendable {
    /// Who a place is for.
    enum Client: Hashable, Sendable {
        case user(UserName)
        case stranger(ClientAddress)
    }

    /// A place that was taken: give it back once.
    struct Slot: Sendable {
        fileprivate let share: Budget.Share
        fileprivate let client: Client
    }

    private struct State {
        var used: [Budget.Share: Int] = [:]
        var ofClient: [Client: Int] = [:]
    }

    private let bound: @Sendable (Budget.Share) -> Int
    private let state = Mutex(State())

    /// - Parameter bound: gives the number of places of strangers, users and operators.
    init(_ bound: @escaping @Sendable (Budget.Share) -> Int) { self.bound = bound }

    /// Takes a place.
    /// - Parameter shares: the kinds of places, tried in this order.
    /// - Returns: nil if there is no place for this client.
    func take(_ shares: [Budget.Share], for client: Client) -> Slot? {
        state.withLock { state in
            let own = state.ofClient[client, default: 0]
            let share = shares.first { share in
                let (used, bound) = (state.used[share, default: 0], max(1, bound(share)))
                return used < bound && (used < bound - bound / 4 || own < bound / 2)
            }
            guard let share else { return nil }
            state.used[share, default: 0] += 1
            state.ofClient[client] = own + 1
            return Slot(share: share, client: client)
        }
    }

    func give(_ slot: Slot) {
        state.withLock { state in
            state.used[slot.share, default: 1] -= 1
            let own = state.ofClient[slot.client, default: 1] - 1
            state.ofClient[slot.client] = own > 0 ? own : nil
        }
    }
}
