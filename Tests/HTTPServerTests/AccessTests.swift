import HTTPTypes
import TestSupport
import Testing

@testable import HTTPServer
@testable import Identity

@Suite("Rights on repositories", .timeLimit(.minutes(5)))
struct AccessTests {
    private static func authenticator() throws -> Authenticator {
        var users = Htpasswd()
        let hash = try BcryptHash(password: "secret", cost: 4)
        for name in ["ci", "chief", "nobody"] { try users.set(name, hash) }
        let policy = try Policy(
            parsing: """
                users:
                  ci: {repositories: {"team-a/**": [push], "base/*": [pull]}}
                  chief: {roles: [operator]}
                anonymous: {repositories: {"public/**": [pull]}}
                """)
        return Authenticator(users: users, policy: policy)
    }

    private static var routes: Routes {
        var routes = Routes()
        routes.get("/pull/**", access: .anonymous) { request in
            try request.require(.pull, on: String(request.path.dropFirst(6)))
            return .text(request.principal?.name ?? "-")
        }
        routes.get("/push/**", access: .anonymous) { request in
            try request.require(.push, on: String(request.path.dropFirst(6)))
            return .text(request.principal?.name ?? "-")
        }
        routes.get("/free", access: .anonymous) { _ in .text("") }
        routes.get("/user", access: .anonymous) { .text(try $0.requireUser().name) }
        routes.get("/everywhere", access: .role(.pull)) { _ in .text("") }
        return routes
    }

    @Test("Each gets what the policy says: 401 for those who can say more of themselves, 403 for those who did")
    func table() async throws {
        let rows: [(user: String?, path: String, status: Int)] = [
            (nil, "/pull/public/x", 200), (nil, "/pull/team-a/x", 401), (nil, "/push/public/x", 401),
            (nil, "/user", 401), (nil, "/everywhere", 401),
            ("ci", "/pull/public/x", 200), ("ci", "/pull/team-a/x", 200), ("ci", "/push/team-a/x", 200),
            ("ci", "/pull/base/x", 200), ("ci", "/push/base/x", 403), ("ci", "/pull/team-b/x", 403),
            ("ci", "/push/public/x", 403), ("ci", "/user", 200), ("ci", "/everywhere", 403),
            ("nobody", "/pull/public/x", 200), ("nobody", "/pull/base/x", 403), ("nobody", "/user", 200),
            ("chief", "/push/team-b/x", 200), ("chief", "/everywhere", 200),
            ("stranger", "/pull/public/x", 401), ("stranger", "/user", 401),
        ]
        try await TestServer.run(Self.routes, authenticator: try Self.authenticator()) { server async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                for row in rows {
                    let headers = row.user.map { ["Authorization": basic($0)] } ?? [:]
                    let answer = try await client.request("GET", row.path, headers)
                    #expect(answer.status == row.status, "\(row)")
                    #expect((answer["www-authenticate"] != nil) == (row.status == 401), "\(row)")
                    if row.status == 200, row.path != "/everywhere" { #expect(answer.text == row.user ?? "-") }
                }
            }
        }
    }

    @Test(
        "Wrong credentials are refused even where none are needed", arguments: ["", "Bearer x", basic("ci", "wrong")])
    func wrong(header: String) async throws {
        try await TestServer.run(Self.routes, authenticator: try Self.authenticator()) { server async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                for path in ["/pull/public/x", "/free"] {
                    #expect(try await client.request("GET", path, ["Authorization": header]).status == 401)
                    #expect(try await client.request("GET", path).status == 200)
                }
            }
        }
    }

    @Test("Where the policy gives nothing to everybody, nothing is given")
    func closed() async throws {
        try await TestServer.run(Self.routes) { server async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                #expect(try await client.request("GET", "/pull/public/x").status == 401)
                let pull = ["Authorization": basic("pull")]
                #expect(try await client.request("GET", "/pull/public/x", pull).status == 200)
                #expect(try await client.request("GET", "/push/public/x", pull).status == 403)
            }
        }
    }
}
