import Synchronization

/// How much memory all requests together may hold, in bytes.
///
/// Memory is taken before it is used and given back afterwards. The budget is divided into shares with bounds of their
/// own: whatever strangers or users do, what others need is left.
public final class Budget: Sendable {
    public enum Share: Int, CaseIterable, Sendable {
        /// Connections and requests of strangers, which are clients that have not authenticated.
        case strangers
        /// Connections, requests and answers of users.
        case users
        /// Documents, such as manifests, that users send and that are read whole.
        case documents
        /// The buffers of archives while they are converted.
        case archives
        /// All of the above for operators.
        case operators
    }

    /// The counters of one share, in an object of their own, since several event loops count at the same time.
    private final class Account: Sendable {
        let bound: Int
        let used = Atomic(0)
        let peak = Atomic(0)

        init(bound: Int) { self.bound = bound }
    }

    private let accounts: [Account]

    /// - Parameter bound: gives the bytes of a share.
    init(_ bound: (Share) -> Int) { accounts = Share.allCases.map { Account(bound: bound($0)) } }

    /// Divides a number of bytes into the shares.
    public static func memory(_ bytes: Int) -> Budget {
        Budget { share in
            switch share {
            case .strangers, .documents: bytes / 16 * 3
            case .users, .archives: bytes / 16 * 4
            case .operators: bytes / 16 * 2
            }
        }
    }

    /// Takes bytes of a share.
    /// - Returns: false if there is not enough left; then nothing was taken.
    public func take(_ amount: Int, of share: Share) -> Bool {
        let account = accounts[share.rawValue]
        let used = account.used.wrappingAdd(amount, ordering: .relaxed).newValue
        guard used <= account.bound else {
            account.used.wrappingSubtract(amount, ordering: .relaxed)
            return false
        }
        if used > account.peak.load(ordering: .relaxed) { account.peak.store(used, ordering: .relaxed) }
        return true
    }

    /// Takes bytes of a share even beyond its bound, for a caller that has just closed connections which hold as many.
    func takeAnyway(_ amount: Int, of share: Share) {
        accounts[share.rawValue].used.wrappingAdd(amount, ordering: .relaxed)
    }

    public func give(_ amount: Int, of share: Share) {
        accounts[share.rawValue].used.wrappingSubtract(amount, ordering: .relaxed)
    }

    public func bound(of share: Share) -> Int { accounts[share.rawValue].bound }

    /// The bytes that are taken of all shares together.
    public var used: Int { accounts.reduce(0) { $0 + $1.used.load(ordering: .relaxed) } }

    /// By how many bytes use has fallen from its peak since this was asked last, all shares together.
    func fallen() -> Int {
        accounts.reduce(0) { sum, account in
            let used = account.used.load(ordering: .relaxed)
            return sum + max(0, account.peak.exchange(used, ordering: .relaxed) - used)
        }
    }

    /// Whether a user's small request would find room.
    public var hasRoom: Bool {
        let amount = min(Self.ordinary, accounts[Share.users.rawValue].bound)
        guard take(amount, of: .users) else { return false }
        give(amount, of: .users)
        return true
    }

    /// The memory that a pull needs, in bytes.
    private static let ordinary = 256 << 10
}

/// What one request or connection holds of a budget.
final class Holding: Sendable {
    private struct State {
        var share: Budget.Share
        var held = 0
        var isOver = false
    }

    private let budget: Budget
    private let state: Mutex<State>

    init(_ budget: Budget, _ share: Budget.Share) {
        self.budget = budget
        state = Mutex(State(share: share))
    }

    /// Another holding of the same budget, which holds nothing yet.
    /// - Parameter share: gives the new one's share for the share of this one.
    func another(_ share: (Budget.Share) -> Budget.Share) -> Holding { Holding(budget, share(self.share)) }

    deinit { release() }

    var share: Budget.Share { state.withLock { $0.share } }
    /// The bytes that are held.
    var bytes: Int { state.withLock { $0.held } }

    /// Takes bytes of the share.
    /// - Returns: false if there is not enough left, or after `release`.
    func take(_ amount: Int) -> Bool {
        state.withLock { state in
            guard !state.isOver, budget.take(amount, of: state.share) else { return false }
            state.held += amount
            return true
        }
    }

    /// Takes bytes even beyond the share's bound (`Budget.takeAnyway`).
    func takeAnyway(_ amount: Int) {
        state.withLock { state in
            guard !state.isOver else { return }
            budget.takeAnyway(amount, of: state.share)
            state.held += amount
        }
    }

    func give(_ amount: Int) {
        state.withLock { state in
            guard !state.isOver else { return }
            budget.give(amount, of: state.share)
            state.held -= amount
        }
    }

    /// Moves all that is held to another share. Does nothing if that has no room for it.
    func move(to share: Budget.Share) {
        state.withLock { state in
            guard state.share != share, !state.isOver, budget.take(state.held, of: share) else { return }
            budget.give(state.held, of: state.share)
            state.share = share
        }
    }

    /// Gives everything back; nothing can be taken any more.
    func release() {
        state.withLock { state in
            guard !state.isOver else { return }
            budget.give(state.held, of: state.share)
            state.held = 0
            state.isOver = true
        }
    }
}
