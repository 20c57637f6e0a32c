import NIOCore
import TestSupport
import Testing

@testable import HTTPServer
@testable import Identity

@Suite("Floods of wrong passwords over HTTP", .timeLimit(.minutes(5)))
struct PasswordFloodTests {
    private static func authenticator(
        cost: Int, limits: Authenticator.Limits = .init(), now: @escaping @Sendable () -> NIODeadline = { .now() }
    ) throws -> Authenticator {
        var users = Htpasswd()
        try users.set("alice", try BcryptHash(password: "wonderland", cost: cost))
        return Authenticator(users: users, policy: Policy(), limits: limits, now: now)
    }

    @Test("A flood of wrong passwords is bounded, and known users do not wait behind it")
    func flood() async throws {
        var limits = Authenticator.Limits()
        limits.waiting = 8
        let authenticator = try Self.authenticator(cost: 10, limits: limits)
        var routes = Routes()
        routes.get("/", access: .authenticated) { .text($0.principal?.name ?? "") }
        try await TestServer.run(routes, authenticator: authenticator) { server async throws in
            let good = ["Authorization": basic("alice", "wonderland")]
            try await RawClient.with(port: server.plain) { client async throws in
                #expect(try await client.request("GET", "/", good).status == 200)
                let (turnedAway, checked, stop) = (Count(), Count(), Count())
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for worker in 0..<40 {
                        group.addTask {
                            try await RawClient.with(port: server.plain) { flood in
                                var round = 0
                                while stop.value == 0 {
                                    let header = ["Authorization": basic("alice", "guess \(worker) \(round)")]
                                    let answer = try await flood.request("GET", "/", header)
                                    round += 1
                                    #expect([401, 429, 503].contains(answer.status))
                                    if answer.status == 503 { #expect(answer["retry-after"] == "5") }
                                    (answer.status == 401 ? checked : turnedAway).add(1)
                                }
                            }
                        }
                    }
                    #expect(try await eventually { turnedAway.value > 0 && checked.value > 0 })
                    let before = checked.value
                    for _ in 0..<200 { #expect(try await client.request("GET", "/", good).status == 200) }
                    // Had each of these waited for even one check, there would have been 200.
                    #expect(checked.value - before < 100)
                    stop.add(1)
                    try await group.waitForAll()
                }
            }
        }
    }

    @Test("Over HTTP it is 429 with Retry-After, and the answers before it tell nothing of users")
    func answers() async throws {
        let authenticator = try Self.authenticator(cost: 4, now: { NIODeadline.uptimeNanoseconds(1_000_000_000_000) })
        var routes = Routes()
        routes.get("/", access: .authenticated) { .text($0.principal?.name ?? "") }
        try await TestServer.run(routes, authenticator: authenticator) { server async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                let good = ["Authorization": basic("alice", "wonderland")]
                #expect(try await client.request("GET", "/", good).status == 200)
                for number in 0..<10 {
                    let wrong = ["Authorization": basic("alice", "guess \(number)")]
                    #expect(try await client.request("GET", "/", wrong).status == 401)
                }
                for user in ["alice", "nobody"] {
                    let answer = try await client.request("GET", "/", ["Authorization": basic(user, "guess")])
                    #expect(answer.status == 429)
                    #expect(answer["retry-after"] == "1")
                    #expect(answer["www-authenticate"] == nil)
                    #expect(answer.text.contains("TOOMANYREQUESTS"))
                    #expect(!answer.text.contains("guess"))
                }
                #expect(try await client.request("GET", "/", good).text == "alice")
            }
        }
    }
}
