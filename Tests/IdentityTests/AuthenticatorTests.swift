import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import Identity

@Suite("The authenticator", .timeLimit(.minutes(5)))
struct AuthenticatorTests {
    private final class Clock: Sendable {
        private let time = Mutex(NIODeadline.uptimeNanoseconds(1_000_000_000))
        var now: NIODeadline { time.withLock { $0 } }
        func advance(_ amount: TimeAmount) { time.withLock { $0 = $0 + amount } }
    }

    private static func users(cost: Int = 4) throws -> (Htpasswd, Policy) {
        var users = Htpasswd()
        try users.set("alice", try BcryptHash(password: "wonderland", cost: cost))
        var policy = Policy()
        try policy.set("alice", [.push])
        return (users, policy)
    }

    @Test("The right password is checked once and then known, for a while")
    func cache() async throws {
        let clock = Clock()
        let (users, policy) = try Self.users()
        let authenticator = Authenticator(users: users, policy: policy, limits: .init(), now: { clock.now })
        let header = basic("alice", "wonderland")
        #expect(authenticator.known(header) == nil)
        let principal = try #require(try await authenticator.authenticate(header))
        #expect(principal == Principal(name: "alice", roles: [.push]))
        #expect(authenticator.known(header) == principal)
        clock.advance(.seconds(599))
        #expect(authenticator.known(header) == principal)
        clock.advance(.seconds(1))
        #expect(authenticator.known(header) == nil)
    }

    @Test(
        "Wrong passwords, unknown users and other schemes are not good and not remembered",
        arguments: [
            basic("alice", "wrong"), basic("alice", ""), basic("nobody", "wonderland"), "Bearer x", "",
        ])
    func wrong(header: String) async throws {
        let (users, policy) = try Self.users()
        let authenticator = Authenticator(users: users, policy: policy)
        #expect(try await authenticator.authenticate(header) == nil)
        #expect(authenticator.known(header) == nil)
    }

    @Test("Other users and another policy hold from the next request on")
    func replacing() async throws {
        let (users, policy) = try Self.users()
        let authenticator = Authenticator(users: users, policy: policy)
        let header = basic("alice", "wonderland")
        _ = try await authenticator.authenticate(header)
        // The password stayed: she is known, with what she may do now.
        authenticator.replace(users: users, policy: Policy())
        #expect(authenticator.known(header)?.roles == [])
        var others = users
        try others.set("alice", try BcryptHash(password: "looking glass", cost: 4))
        authenticator.replace(users: others, policy: policy)
        #expect(authenticator.known(header) == nil)
        #expect(try await authenticator.authenticate(header) == nil)
        #expect(try await authenticator.authenticate(basic("alice", "looking glass"))?.roles == [.push])
        authenticator.replace(users: Htpasswd(), policy: policy)
        #expect(authenticator.known(basic("alice", "looking glass")) == nil)
        #expect(try await authenticator.authenticate(basic("alice", "looking glass")) == nil)
    }

    @Test("The cache is bounded and drops what ends first")
    func bounded() {
        var cache = CredentialCache(maximum: 3, lifetime: .seconds(10))
        let secret = CredentialCache.Key.newSecret()
        let start = NIODeadline.uptimeNanoseconds(0)
        let keys = (0..<5).map { CredentialCache.Key("\($0)", secret: secret) }
        for (number, key) in keys.enumerated() {
            cache.add(Principal(name: "\(number)", roles: []), for: key, now: start + .seconds(Int64(number)))
        }
        #expect(keys.map { cache.principal(for: $0, now: start + .seconds(5))?.name } == [nil, nil, "2", "3", "4"])
        cache.add(Principal(name: "new", roles: []), for: keys[0], now: start + .seconds(20))
        #expect(keys.map { cache.principal(for: $0, now: start + .seconds(20))?.name } == ["new", nil, nil, nil, nil])
    }

    @Test(
        "A wrong password is as much work as the usual one, or as its user's own if that is more",
        arguments: [4, 10, 12])
    func sameWork(usual: Int) {
        for own in (4...14).map(Optional.some) + [nil] {
            let all = (own.map { [$0] } ?? []) + Authenticator.idleCosts(own: own, usual: usual)
            #expect(all.reduce(0) { $0 + 1 << $1 } == 1 << max(own ?? 0, usual))
        }
    }

    @Test(
        "The usual cost is what most have, whatever a few have",
        arguments: [([], 10), ([4], 4), ([4, 4, 9], 4), ([9, 4, 9], 9), ([5, 4], 4), ([4, 5, 5, 6, 6], 5)])
    func usualCost(costs: [Int], usual: Int) throws {
        var users = Htpasswd()
        for (number, cost) in costs.enumerated() {
            try users.set("user\(number)", try BcryptHash(password: "x", cost: cost))
        }
        #expect(users.usualCost == usual)
    }

    @Test("Equal credentials that come at once are checked once")
    func together() async throws {
        let (users, policy) = try Self.users(cost: 9)
        var limits = Authenticator.Limits()
        limits.waiting = 1
        let authenticator = Authenticator(users: users, policy: policy, limits: limits)
        let header = basic("alice", "wonderland")
        try await withThrowingTaskGroup(of: Principal?.self) { group in
            for _ in 0..<50 { group.addTask { try await authenticator.authenticate(header) } }
            // With room for a single check, a second one would be turned away.
            for try await principal in group { #expect(principal?.name == "alice") }
        }
    }
}

extension Authenticator {
    func authenticate(_ authorization: String) async throws -> Principal? {
        try await authenticate(authorization, from: .unknown)
    }
}
