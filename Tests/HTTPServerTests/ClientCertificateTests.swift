import Foundation
import TestSupport
import Testing

@testable import HTTPServer
@testable import Identity

@Suite("Client certificates", .timeLimit(.minutes(5)))
struct ClientCertificateTests {
    private static var routes: Routes {
        var routes = Routes()
        routes.get("/", access: .authenticated) { .text($0.principal?.name ?? "") }
        routes.get("/push", access: .role(.push)) { .text($0.principal?.name ?? "") }
        routes.get("/public", access: .anonymous) { .text($0.principal?.name ?? "nobody") }
        return routes
    }

    private static func authenticator() throws -> Authenticator {
        var users = Htpasswd()
        try users.set("alice", try BcryptHash(password: "wonderland", cost: 4))
        let policy = try Policy(
            parsing: """
                users:
                  alice: {roles: [pull]}
                  ci: {roles: [push]}
                  spiffe://cluster/ns/ci: {roles: [push]}
                  build.example: {roles: [push]}
                """)
        return Authenticator(users: users, policy: policy)
    }

    /// Runs a server that asks for certificates of an authority.
    private func with(
        _ body: @escaping @Sendable (TestServer, ClientAuthority, String) async throws -> Void
    ) async throws {
        let clients = try await ClientAuthority()
        let directory = try TemporaryDirectory()
        let own = CertificateAuthority(directory: directory.path)
        try own.prepare()
        let tls = try ServerTLS(
            TLSFiles(certificate: own.files.certificate, key: own.files.key, clientAuthority: clients.path))
        try await TestServer.run(Self.routes, authenticator: try Self.authenticator(), tls: tls) {
            server async throws in
            try await body(server, clients, directory.path + "/ca.pem")
        }
    }

    @Test("A certificate's name is its user, with the rights that the policy gives to that name")
    func names() async throws {
        try await with { server, clients, authority async throws in
            let rows: [(subject: String, names: String?, user: String, mayPush: Bool)] = [
                ("/O=Builders/CN=ci", nil, "ci", true),
                ("/CN=ci", "URI:spiffe://other/x,DNS:other.example", "ci", true),
                ("/CN=alice", nil, "alice", false), ("/CN=stranger", nil, "stranger", false),
                ("/O=x", "DNS:build.example,URI:spiffe://cluster/ns/ci", "spiffe://cluster/ns/ci", true),
                ("/O=x", "DNS:build.example", "build.example", true),
            ]
            for row in rows {
                let identity = try await clients.issue(row.subject, names: row.names)
                try await RawClient.with(port: server.secure, authority: authority, identity: identity) {
                    client async throws in
                    #expect(try await client.request("GET", "/").text == row.user)
                    #expect(try await client.request("GET", "/push").status == (row.mayPush ? 200 : 403), "\(row)")
                    #expect(try await client.request("GET", "/public").text == row.user)
                }
            }
        }
    }

    @Test("A certificate that names no user is nobody's", arguments: ["/O=x", "/CN=ci/CN=alice"])
    func nobody(subject: String) async throws {
        try await with { server, clients, authority async throws in
            let identity = try await clients.issue(subject)
            try await RawClient.with(port: server.secure, authority: authority, identity: identity) {
                client async throws in
                #expect(try await client.request("GET", "/").status == 401)
                #expect(try await client.request("GET", "/public").text == "nobody")
            }
        }
    }

    @Test("Who has no certificate uses a password, and who sends a password is who it says")
    func passwords() async throws {
        try await with { server, clients, authority async throws in
            let good = ["Authorization": basic("alice", "wonderland")]
            try await RawClient.with(port: server.secure, authority: authority) { client async throws in
                #expect(try await client.request("GET", "/").status == 401)
                #expect(try await client.request("GET", "/public").text == "nobody")
                #expect(try await client.request("GET", "/", good).text == "alice")
            }
            let identity = try await clients.issue("/CN=ci")
            try await RawClient.with(port: server.secure, authority: authority, identity: identity) {
                client async throws in
                #expect(try await client.request("GET", "/", good).text == "alice")
                let wrong = ["Authorization": basic("alice", "wrong")]
                #expect(try await client.request("GET", "/", wrong).status == 401)
                #expect(try await client.request("GET", "/").text == "ci")
            }
        }
    }

    @Test("A certificate that is not good ends the handshake", arguments: ["another's", "a server's", "expired"])
    func refused(fault: String) async throws {
        try await with { server, clients, authority async throws in
            let identity =
                switch fault {
                case "another's": try await ClientAuthority().issue("/CN=ci")
                case "a server's": try await clients.issue("/CN=ci", usage: "serverAuth")
                default: try await clients.issue("/CN=ci", isExpired: true)
                }
            await #expect(throws: (any Error).self) {
                try await RawClient.with(port: server.secure, authority: authority, identity: identity) {
                    try await $0.request("GET", "/public").status
                }
            }
            // Nobody else is hurt.
            try await RawClient.with(port: server.secure, authority: authority) { client async throws in
                #expect(try await client.request("GET", "/public").status == 200)
            }
        }
    }

    @Test("A resumed session has the same user", arguments: ["-tls1_3", "-tls1_2"])
    func resumed(version: String) async throws {
        try await with { server, clients, authority async throws in
            let identity = try await clients.issue("/CN=ci")
            let session = clients.directory.path + "/session"
            for option in ["-sess_out", "-sess_in"] {
                let result = try await openssl(
                    "s_client", "-connect", "127.0.0.1:\(server.secure)", "-CAfile", authority, "-cert",
                    identity.certificate, "-key", identity.key, option, session, version, "-ign_eof",
                    input: "GET /push HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                #expect(result.output.contains(option == "-sess_in" ? "Reused, TLS" : "New, TLS"))
                #expect(result.output.contains("200 OK") && result.output.contains("\r\n\r\nci"), "\(result.output)")
            }
        }
    }

    @Test("An authority that is replaced lets in its own clients only, and no resumed session of the old one's")
    func replaced() async throws {
        let (old, new) = (try await ClientAuthority(), try await ClientAuthority())
        let directory = try TemporaryDirectory()
        let own = CertificateAuthority(directory: directory.path)
        try own.prepare()
        let path = directory.path + "/clients.pem"
        try FileManager.default.copyItem(atPath: old.path, toPath: path)
        let tls = try ServerTLS(
            TLSFiles(certificate: own.files.certificate, key: own.files.key, clientAuthority: path))
        let authority = directory.path + "/ca.pem"
        try await TestServer.run(Self.routes, authenticator: try Self.authenticator(), tls: tls) {
            server async throws in
            let identities = [try await old.issue("/CN=ci"), try await new.issue("/CN=ci")]
            func users() async -> [String?] {
                var users: [String?] = []
                for identity in identities {
                    users.append(
                        try? await RawClient.with(port: server.secure, authority: authority, identity: identity) {
                            try await $0.request("GET", "/").text
                        })
                }
                return users
            }
            @Sendable func resume(_ option: String) async throws -> String {
                try await openssl(
                    "s_client", "-connect", "127.0.0.1:\(server.secure)", "-CAfile", authority, "-cert",
                    identities[0].certificate, "-key", identities[0].key, option, directory.path + "/session",
                    "-ign_eof", input: "GET /push HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
                ).output
            }
            #expect(await users() == ["ci", nil])
            #expect(try await resume("-sess_out").contains("200 OK"))
            try FileManager.default.removeItem(atPath: path)
            try FileManager.default.copyItem(atPath: new.path, toPath: path)
            try tls.reload()
            #expect(await users() == [nil, "ci"])
            #expect(try await !resume("-sess_in").contains("200 OK"))
        }
    }

    @Test("An authority's file that holds no certificate is refused with its name", arguments: ["", "garbage"])
    func badAuthority(text: String) throws {
        let directory = try TemporaryDirectory()
        let own = CertificateAuthority(directory: directory.path)
        try own.prepare()
        let path = directory.path + "/clients.pem"
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        do {
            _ = try ServerTLS(
                TLSFiles(certificate: own.files.certificate, key: own.files.key, clientAuthority: path))
            Issue.record("it was taken")
        } catch {
            #expect(error.description.contains(path))
        }
    }
}
