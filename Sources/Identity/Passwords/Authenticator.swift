import Crypto
import NIOCore
import Synchronization

/// Says who sends a request.
public protocol Authenticating: Sendable {
    /// The user of credentials that are remembered, found without waiting; nil if they have to be checked. Nearly
    /// every request takes this way.
    func known(_ authorization: String) -> Principal?

    /// Checks credentials.
    /// - Parameter address: where they come from.
    /// - Returns: nil if the credentials are not good.
    /// - Throws: `AuthenticationError.overloaded` or `.tooManyFailures`.
    func authenticate(_ authorization: String, from address: ClientAddress) async throws -> Principal?

    /// The user that a verified client certificate names. One that the policy does not name may do what everybody may.
    func certified(_ user: String) -> Principal

    /// What clients without credentials may do; nil if that is nothing.
    var anonymous: Principal? { get }

    /// Issues a token that grants what is asked for and is allowed now; nil if there are no tokens here.
    func token(for subject: TokenSubject, asking scope: TokenScope) -> IssuedToken?

    /// Who sends a token; nil if it is not good.
    /// - Parameter user: the user that the connection's certificate names; nil if there is none.
    func bearer(_ authorization: String, certified user: String?) -> TokenBearer?
}

extension Authenticating {
    public func certified(_ user: String) -> Principal { Principal(name: user, roles: []) }

    public var anonymous: Principal? { nil }

    public func token(for subject: TokenSubject, asking scope: TokenScope) -> IssuedToken? { nil }

    public func bearer(_ authorization: String, certified user: String?) -> TokenBearer? { nil }
}

/// Basic authentication against a password file.
///
/// A password is checked once, by bcrypt on threads of its own, and is then remembered for a while. Checking a wrong
/// one takes as long for users that don't exist as for most of those that do: as long as the file's usual cost takes.
/// Hashes that cost more than that take longer and show by it that there is such a user, but then nobody can make
/// others wait for the most expensive hash by guessing at names. Equal credentials that come at the same time are checked
/// once.
///
/// Against floods, an address may send some wrong passwords and is then turned away before any work is done
/// (`AddressLimiter`), and the passwords of all addresses are checked in a fair order (`PasswordQueue`). Neither
/// affects credentials that are remembered. Those that were remembered for too long are checked again before all
/// others, whatever else came from their address.
public final class Authenticator: Authenticating {
    public struct Limits: Sendable {
        /// How many credentials are remembered.
        public var cached = 4096
        /// For how long credentials are remembered.
        public var lifetime: Duration = .seconds(600)
        /// How many tokens are remembered.
        public var tokens = 4096
        /// How many passwords may be in checking or wait for it; more are turned away.
        public var waiting = 64
        /// How many of those passwords may come from one address.
        public var waitingOfAddress = 8
        /// For how long a password may wait; then it is turned away.
        public var patience: Duration = .seconds(10)
        /// Wrong passwords that an address may send at once, and how long it then waits for each further one.
        public var failures = 10
        public var failureInterval: Duration = .seconds(1)
        /// For how many addresses wrong passwords are counted.
        public var addresses = 4096
        /// How many threads check passwords.
        public var threads = max(2, min(4, System.coreCount))

        public init() {}
    }

    private struct State {
        var users: Htpasswd
        /// The cost of most of their hashes.
        var usualCost: Int
        var principals: Principals
        /// Counts replacements of users and policy. The result of a check that began before one is not remembered.
        var generation = 0
        var cache: CredentialCache
        var tokens: TokenCache
        var failures: AddressLimiter
        var checking: [CredentialCache.Key: [@Sendable (Result<Principal?, any Error>) -> Void]] = [:]
    }

    private let secret = SymmetricKey(size: .bits256)
    private let tokens: TokenSigner?
    private let pool: PasswordPool
    private let state: Mutex<State>
    private let now: @Sendable () -> NIODeadline

    /// - Parameter tokens: signs tokens; nil: there are none, and none is good.
    public convenience init(
        users: Htpasswd, policy: Policy, tokens: TokenSigner? = nil, limits: Limits = Limits()
    ) {
        self.init(users: users, policy: policy, tokens: tokens, limits: limits, now: { .now() })
    }

    init(
        users: Htpasswd, policy: Policy, tokens: TokenSigner? = nil, limits: Limits,
        now: @escaping @Sendable () -> NIODeadline
    ) {
        self.now = now
        self.tokens = tokens
        pool = PasswordPool(
            threads: limits.threads, maximum: limits.waiting, maximumOfAddress: limits.waitingOfAddress,
            patience: TimeAmount(limits.patience), now: now)
        state = Mutex(
            State(
                users: users, usualCost: users.usualCost, principals: Principals(policy),
                cache: CredentialCache(maximum: limits.cached, lifetime: TimeAmount(limits.lifetime)),
                tokens: TokenCache(maximum: limits.tokens),
                failures: AddressLimiter(
                    burst: limits.failures, interval: TimeAmount(limits.failureInterval), maximum: limits.addresses)))
    }

    /// Replaces users and policy as one step, for all requests from now on. Users whose password did not change stay
    /// remembered, with the rights that the new policy gives them, so that nobody has to wait for bcrypt.
    public func replace(users: Htpasswd, policy: Policy) {
        let principals = Principals(policy)
        let usualCost = users.usualCost
        state.withLock { state in
            state.cache.update { name in
                state.users.hash(of: name) == users.hash(of: name) ? principals[name] : nil
            }
            state.users = users
            state.usualCost = usualCost
            state.principals = principals
            state.tokens.removeAll()
            state.generation += 1
        }
    }

    /// Replaces the keys that sign tokens, for all requests from now on.
    public func replace(tokenKeys keys: SecretKeys) {
        tokens?.replace(keys)
        state.withLock { state in
            state.tokens.removeAll()
            state.generation += 1
        }
    }

    public func certified(_ user: String) -> Principal { state.withLock { $0.principals[user] } }

    public var anonymous: Principal? { state.withLock { $0.principals.anonymous } }

    public func known(_ authorization: String) -> Principal? {
        guard authorization.utf8.count <= BasicCredentials.maximumHeader else { return nil }
        let key = CredentialCache.Key(authorization, secret: secret)
        let now = now()
        return state.withLock { $0.cache.principal(for: key, now: now) }
    }

    public func authenticate(_ authorization: String, from address: ClientAddress) async throws -> Principal? {
        guard let credentials = BasicCredentials(authorization) else { return nil }
        let key = CredentialCache.Key(authorization, secret: secret)
        let attempt: Attempt
        switch begin(key, address) {
        case .underWay: return try await join(key, authorization, address)
        case .limited(let wait):
            let seconds = (wait.nanoseconds + 999_999_999) / 1_000_000_000
            throw AuthenticationError.tooManyFailures(retryAfter: max(1, Int(seconds)))
        case .attempt(let begun): attempt = begun
        }
        do {
            let principal = try await check(credentials, attempt)
            finish(attempt, .success(principal))
            return principal
        } catch {
            finish(attempt, .failure(AuthenticationError.overloaded))
            throw AuthenticationError.overloaded
        }
    }

    /// A check of credentials.
    private struct Attempt {
        let key: CredentialCache.Key
        let address: ClientAddress
        /// The credentials were found good before, so the check does not count against their address.
        let wasGood: Bool
    }

    private enum Beginning {
        case attempt(Attempt)
        case underWay
        case limited(TimeAmount)
    }

    private func begin(_ key: CredentialCache.Key, _ address: ClientAddress) -> Beginning {
        let now = now()
        return state.withLock { state in
            guard state.checking[key] == nil else { return .underWay }
            let wasGood = state.cache.wasGood(key)
            if !wasGood, let wait = state.failures.take(address, now: now) { return .limited(wait) }
            state.checking[key] = []
            return .attempt(Attempt(key: key, address: address, wasGood: wasGood))
        }
    }

    /// Waits for the check of the same credentials that is under way.
    private func join(
        _ key: CredentialCache.Key, _ authorization: String, _ address: ClientAddress
    ) async throws -> Principal? {
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
        // The check ended before this caller could wait for it, so it begins again.
        case .ended:
            if let principal = known(authorization) { return principal }
            return try await authenticate(authorization, from: address)
        }
    }

    private func finish(_ attempt: Attempt, _ result: Result<Principal?, any Error>) {
        var isWrong = false
        if case .success(nil) = result { isWrong = true }
        let waiting = state.withLock { state in
            if !isWrong, !attempt.wasGood { state.failures.giveBack(attempt.address) }
            return state.checking.removeValue(forKey: attempt.key) ?? []
        }
        for resume in waiting { resume(result) }
    }

    /// The costs of the hashes that are computed for nothing after a wrong password. Together with the user's own
    /// hash, if there is one, they are at least as much work as the file's usual hash. Each step of the cost doubles the
    /// work.
    static func idleCosts(own: Int?, usual: Int) -> [Int] {
        guard let own else { return [usual] }
        return Array(own..<max(own, usual))
    }

    private func check(_ credentials: BasicCredentials, _ attempt: Attempt) async throws -> Principal? {
        let (users, usual, generation) = state.withLock { ($0.users, $0.usualCost, $0.generation) }
        let hash = users.hash(of: credentials.user)
        let isGood = try await pool.run(
            for: attempt.address, wasGood: attempt.wasGood, extraCost: max(0, (hash?.cost ?? usual) - usual)
        ) {
            if let hash, hash.matches(credentials.password) { return true }
            for cost in Self.idleCosts(own: hash?.cost, usual: usual) {
                _ = BcryptHash.unmatchable(cost: cost)?.matches(credentials.password)
            }
            return false
        }
        guard isGood else { return nil }
        let now = now()
        return state.withLock { state in
            let principal = state.principals[credentials.user]
            if state.generation == generation { state.cache.add(principal, for: attempt.key, now: now) }
            return principal
        }
    }
}

// Tokens.
extension Authenticator {
    public func token(for subject: TokenSubject, asking scope: TokenScope) -> IssuedToken? {
        guard let tokens else { return nil }
        let (client, hash) = state.withLock { state -> (Principal?, BcryptHash?) in
            switch subject {
            case .nobody: (state.principals.anonymous, nil)
            case .user(let name): (state.principals[name], state.users.hash(of: name))
            case .certificate(let name): (state.principals[name], nil)
            }
        }
        let granted = scope.granted(to: client)
        return IssuedToken(text: tokens.sign(subject, granted, password: hash), scope: granted)
    }

    public func bearer(_ authorization: String, certified user: String?) -> TokenBearer? {
        guard let tokens, authorization.utf8.count <= TokenSigner.maximumLength + 7 else { return nil }
        let key = CredentialCache.Key(authorization, secret: secret)
        let (known, generation) = state.withLock { ($0.tokens[key], $0.generation) }
        let entry: TokenCache.Entry
        if let known {
            guard tokens.seconds < known.expires else { return nil }
            entry = known
        } else {
            guard let claims = tokens.claims(of: authorization), let bearer = bearer(of: claims) else { return nil }
            entry = TokenCache.Entry(bearer: bearer, subject: claims.subject, expires: claims.expires)
            state.withLock { state in
                // What was found out before a replacement is not remembered beyond it.
                if state.generation == generation { state.tokens.add(entry, for: key) }
            }
        }
        if case .certificate(let name) = entry.subject {
            guard let user, UserName(user) == UserName(name) else { return nil }
        }
        return entry.bearer
    }

    /// - Returns: nil if the token's user is gone, or has another password now.
    private func bearer(of claims: TokenSigner.Claims) -> TokenBearer? {
        let (users, principals) = state.withLock { ($0.users, $0.principals) }
        switch claims.subject {
        case .nobody:
            let anonymous = principals.anonymous ?? Principal(name: "anonymous", roles: [])
            return .nobody(anonymous.with(claims.scope))
        case .user(let name):
            guard let hash = users.hash(of: name), claims.isFor(hash) else { return nil }
            return .user(principals[name].with(claims.scope))
        case .certificate(let name): return .user(principals[name].with(claims.scope))
        }
    }
}
