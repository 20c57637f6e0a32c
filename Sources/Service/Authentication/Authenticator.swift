import Crypto
import NIOCore
import Synchronization

/// Says who sends a request.
public protocol Authenticating: Sendable {
    /// The user, if it can be told without waiting: the way of nearly every request.
    func known(_ authorization: String) -> Principal?

    /// - Returns: nil if the credentials are not good.
    /// - Throws: `AuthenticationError.overloaded`.
    func authenticate(_ authorization: String) async throws -> Principal?

    /// What those may do who don't say who they are; nil if that is nothing.
    var anonymous: Principal? { get }
}

extension Authenticating {
    public var anonymous: Principal? { nil }
}

/// Basic authentication against a password file.
///
/// A password is checked once, by bcrypt on threads of its own, and is then known for a while. A wrong one takes as
/// long for users that don't exist as for those that do. Equal credentials that come at once are checked together.
public final class Authenticator: Authenticating {
    public struct Limits: Sendable {
        /// Credentials that are remembered.
        public var cached = 4096
        /// For how long.
        public var lifetime: Duration = .seconds(600)
        /// Passwords that may be checked or wait for it; more are turned away.
        public var waiting = 64
        /// Threads that check passwords.
        public var threads = 1

        public init() {}
    }

    private struct State {
        var users: Htpasswd
        var principals: Principals
        /// What was found out under other users or another policy is not remembered.
        var generation = 0
        var cache: CredentialCache
        var checking: [CredentialCache.Key: [@Sendable (Result<Principal?, any Error>) -> Void]] = [:]
    }

    private let secret = SymmetricKey(size: .bits256)
    private let pool: PasswordPool
    private let state: Mutex<State>
    private let now: @Sendable () -> NIODeadline

    public convenience init(users: Htpasswd, policy: Policy, limits: Limits = Limits()) {
        self.init(users: users, policy: policy, limits: limits, now: { .now() })
    }

    init(users: Htpasswd, policy: Policy, limits: Limits, now: @escaping @Sendable () -> NIODeadline) {
        self.now = now
        pool = PasswordPool(threads: limits.threads, maximum: limits.waiting)
        state = Mutex(
            State(
                users: users, principals: Principals(policy),
                cache: CredentialCache(maximum: limits.cached, lifetime: TimeAmount(limits.lifetime))))
    }

    /// Takes other users and another policy as one step, for all requests from now on. Users whose password stays are
    /// still known: they get what the new policy gives them, and nobody has to wait for bcrypt.
    public func replace(users: Htpasswd, policy: Policy) {
        let principals = Principals(policy)
        state.withLock { state in
            state.cache.update { name in
                state.users.hash(of: name) == users.hash(of: name) ? principals[name] : nil
            }
            state.users = users
            state.principals = principals
            state.generation += 1
        }
    }

    public var anonymous: Principal? { state.withLock { $0.principals.anonymous } }

    public func known(_ authorization: String) -> Principal? {
        guard authorization.utf8.count <= BasicCredentials.maximumHeader else { return nil }
        let key = CredentialCache.Key(authorization, secret: secret)
        let now = now()
        return state.withLock { $0.cache.principal(for: key, now: now) }
    }

    public func authenticate(_ authorization: String) async throws -> Principal? {
        guard let credentials = BasicCredentials(authorization) else { return nil }
        let key = CredentialCache.Key(authorization, secret: secret)
        let isFirst = state.withLock { state in
            guard state.checking[key] == nil else { return false }
            state.checking[key] = []
            return true
        }
        guard isFirst else { return try await join(key, authorization) }
        do {
            let principal = try await check(credentials, key)
            finish(key, .success(principal))
            return principal
        } catch {
            finish(key, .failure(AuthenticationError.overloaded))
            throw AuthenticationError.overloaded
        }
    }

    /// Waits for the same credentials' check that is under way.
    private func join(_ key: CredentialCache.Key, _ authorization: String) async throws -> Principal? {
        enum Joined { case ended, result(Principal?) }
        let joined: Joined = try await withCheckedThrowingContinuation { continuation in
            let isUnderWay = state.withLock { state in
                guard state.checking[key] != nil else { return false }
                state.checking[key]?.append { continuation.resume(with: $0.map(Joined.result)) }
                return true
            }
            if !isUnderWay { continuation.resume(returning: .ended) }
        }
        switch joined {
        case .result(let principal): return principal
        // It ended in between: ask again.
        case .ended:
            return if let principal = known(authorization) { principal } else { try await authenticate(authorization) }
        }
    }

    private func finish(_ key: CredentialCache.Key, _ result: Result<Principal?, any Error>) {
        let waiting = state.withLock { $0.checking.removeValue(forKey: key) ?? [] }
        for resume in waiting { resume(result) }
    }

    /// The costs of hashing for nothing after a password was wrong, so that together with the user's own hash, if there
    /// is one, it is as much work as the file's most expensive hash. Each step of the cost doubles the work.
    static func idleCosts(own: Int?, highest: Int) -> [Int] {
        guard let own else { return [highest] }
        return Array(own..<max(own, highest))
    }

    private func check(_ credentials: BasicCredentials, _ key: CredentialCache.Key) async throws -> Principal? {
        let (users, generation) = state.withLock { ($0.users, $0.generation) }
        let hash = users.hash(of: credentials.user)
        let highest = users.highestCost
        let isGood = try await pool.run {
            if let hash, hash.matches(credentials.password) { return true }
            for cost in Self.idleCosts(own: hash?.cost, highest: highest) {
                _ = BcryptHash.unmatchable(cost: cost)?.matches(credentials.password)
            }
            return false
        }
        guard isGood else { return nil }
        let now = now()
        return state.withLock { state in
            let principal = state.principals[credentials.user]
            if state.generation == generation { state.cache.add(principal, for: key, now: now) }
            return principal
        }
    }
}
