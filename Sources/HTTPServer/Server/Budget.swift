import Synchronization

/// How much memory all requests together may hold, in bytes.
///
/// It is taken before it is used and given back afterwards. It is cut into shares, each of which has a bound of its own:
/// whatever strangers or users do, what others need is left.
public final class Budget: Sendable {
    public enum Share: Int, CaseIterable, Sendable {
        /// Connections and requests of those who have not said who they are.
        case strangers
        /// Connections, requests and answers of users.
        case users
        /// Documents, such as manifests, that users send and that are read whole.
        case documents
        /// What archives take while they are taken in.
        case archives
        /// All of that for operators.
        case operators
    }

    /// What one share has. It lies alone in memory, since several event loops count at once.
    private final class Account: Sendable {
        let bound: Int
        let used = Atomic(0)
        let peak = Atomic(0)

        init(bound: Int) { self.bound = bound }
    }

    private let accounts: [Account]

    /// - Parameter bound: of a share.
    init(_ bound: (Share) -> Int) { accounts = Share.allCases.map { Account(bound: bound($0)) } }

    /// The bytes that requests may hold.
    public static func memory(_ bytes: Int) -> Budget {
        Budget { share in
            switch share {
            case .strangers, .documents: bytes / 16 * 3
            case .users, .archives: bytes / 16 * 4
            case .operators: bytes / 16 * 2
            }
        }
    }

    /// Takes some of a share.
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

    /// Takes it though it may be more than there is left: the caller has just made somebody else give up as much.
    func takeAnyway(_ amount: Int, of share: Share) {
        accounts[share.rawValue].used.wrappingAdd(amount, ordering: .relaxed)
    }

    public func give(_ amount: Int, of share: Share) {
        accounts[share.rawValue].used.wrappingSubtract(amount, ordering: .relaxed)
    }

    public func bound(of share: Share) -> Int { accounts[share.rawValue].bound }

    /// What is taken of all shares together.
    public var used: Int { accounts.reduce(0) { $0 + $1.used.load(ordering: .relaxed) } }

    /// How much less is taken than at most since this was asked last.
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

    /// Of memory, what a pull needs.
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

    /// Holds nothing yet.
    /// - Parameter share: what it is of, given what this one is of.
    func another(_ share: (Budget.Share) -> Budget.Share) -> Holding { Holding(budget, share(self.share)) }

    deinit { release() }

    var share: Budget.Share { state.withLock { $0.share } }
    /// What it holds.
    var bytes: Int { state.withLock { $0.held } }

    /// - Returns: false if there is not enough left, or after `release`.
    func take(_ amount: Int) -> Bool {
        state.withLock { state in
            guard !state.isOver, budget.take(amount, of: state.share) else { return false }
            state.held += amount
            return true
        }
    }

    /// Takes it though it may be more than there is left (`Budget.takeAnyway`).
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

    /// From now on all that is held counts for another share. It stays where it is if that has no room.
    func move(to share: Budget.Share) {
        state.withLock { state in
            guard state.share != share, !state.isOver, budget.take(state.held, of: share) else { return }
            budget.give(state.held, of: state.share)
            state.share = share
        }
    }

    /// Gives back all, for ever.
    func release() {
        state.withLock { state in
            guard !state.isOver else { return }
            budget.give(state.held, of: state.share)
            state.held = 0
            state.isOver = true
        }
    }
}
