import HTTPTypes
import TestSupport
import Testing

@testable import HTTPServer
@testable import Identity

@Suite("Requests with signed URLs", .timeLimit(.minutes(5)))
struct SignedURLTests {
    private static var routes: Routes {
        var routes = Routes(
            table: AccessTable([
                .signable("GET", "/bits/:guid", .role(.pull)), .signable("PUT", "/bits/:guid", .role(.stage)),
                .signable("DELETE", "/bits/:guid", .role(.operator)), .init("GET", "/closed/:guid", .role(.pull)),
            ]))
        for method in [HTTPRequest.Method.get, .put, .delete] {
            routes.on(method, "/bits/:guid") { .text("\($0.principal?.name ?? "-") \($0.parameters["guid"])") }
        }
        routes.get("/closed/:guid") { _ in .text("") }
        return routes
    }

    @Test("A signature counts on routes that take it, unless an Authorization header is sent")
    func requests() async throws {
        let signer = URLSigner(try SecretKeys(parsing: "id \(String(repeating: "s", count: 32))", for: .urls))
        let (get, put) = (signer.sign(.get, "/bits/a"), signer.sign(.put, "/bits/a"))
        let forged = get.replacing("signature=", with: "signature=0")
        let rows: [(method: String, target: String, user: String?, status: Int)] = [
            ("GET", get, nil, 200), ("HEAD", get, nil, 200), ("PUT", put, nil, 200), ("GET", get, "nobody", 401),
            ("GET", put, nil, 403), ("PUT", get, nil, 403), ("DELETE", get, nil, 403), ("GET", forged, nil, 403),
            ("GET", forged, "pull", 200), ("DELETE", put, "operator", 200), ("DELETE", put, "stage", 403),
            ("GET", "/bits/a", nil, 401), ("GET", "/bits/a", "pull", 200), ("POST", get, nil, 401),
            ("GET", signer.sign(.get, "/closed/a"), nil, 401), ("GET", signer.sign(.get, "/none"), nil, 401),
            ("GET", signer.sign(.get, "/closed/a"), "pull", 200),
        ]
        try await TestServer.run(Self.routes, signer: signer) { server async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                for row in rows {
                    let headers = row.user.map { ["Authorization": basic($0)] } ?? [:]
                    let answer = try await client.request(row.method, row.target, headers)
                    #expect(answer.status == row.status, "\(row)")
                    if row.status == 200, row.method != "HEAD", row.target == get {
                        #expect(answer.text == "signed-url a")
                    }
                }
            }
            #expect(try await eventually { server.log.lines.count { $0.contains("\"status\"") } >= rows.count })
            for secret in ["signature=", "AccessKeyId", "sssss", String(get.suffix(200).prefix(40))] {
                #expect(!server.log.all.contains(secret))
            }
        }
    }

    @Test("Without keys no signature is good")
    func off() async throws {
        let signer = URLSigner(try SecretKeys(parsing: "id \(String(repeating: "s", count: 32))", for: .urls))
        try await TestServer.run(Self.routes) { server async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                #expect(try await client.request("GET", signer.sign(.get, "/bits/a")).status == 401)
            }
        }
    }
}
