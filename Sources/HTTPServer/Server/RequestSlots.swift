import Identity
import Synchronization

/// Places for requests that are worked on or answered: each may have a file open. Users, strangers and operators have
/// their own, and while places run short nobody takes more than half of a kind's.
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

    /// - Parameter bound: of the strangers', the users' and the operators' places.
    init(_ bound: @escaping @Sendable (Budget.Share) -> Int) { self.bound = bound }

    /// - Parameter shares: asked in this order.
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
