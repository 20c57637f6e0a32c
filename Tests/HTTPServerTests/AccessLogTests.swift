import Identity
import JSON
import TestSupport
import Testing

@testable import HTTPServer

@Suite("The access log", .timeLimit(.minutes(5)))
struct AccessLogTests {
    @Test("Each request leaves one line of JSON without secrets")
    func access() async throws {
        var routes = Routes()
        routes.get("/v2/**", access: .role(.pull)) { _ in .text("four") }
        let path = "/v2/\"\\/" + String(repeating: "x", count: 2000)
        try await TestServer.run(routes) { server async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                _ = try await client.request(
                    "GET", "/v2/a?signature=topsecret", ["Authorization": basic("pull"), "X-Request-Id": "id-1"])
                _ = try await client.request("GET", "/v2/a", ["Authorization": basic("pull", "hunter2")])
                _ = try await client.request("GET", path, ["Authorization": basic("pull")])
            }
            #expect(try await eventually { server.log.lines.count { $0.contains("\"request\"") } >= 3 })
            let lines = try server.log.lines.map { try JSONValue(parsing: $0) }.filter { $0["msg"] == "request" }
            let first = lines[0]
            #expect(first["method"] == "GET")
            #expect(first["path"] == "/v2/a")
            #expect(first["status"] == 200)
            #expect(first["sent"] == 4)
            #expect(first["user"] == "pull")
            #expect(first["request"] == "id-1")
            #expect(first["peer"] == "127.0.0.1")
            #expect(first["level"] == "info")
            #expect(first["time"]?.string?.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/) != nil)
            #expect(lines[1]["status"] == 401)
            #expect(lines[1]["user"] == nil)
            #expect(lines[2]["path"]?.string?.utf8.count ?? 0 < 600)
            for secret in ["topsecret", "hunter2", basic("pull"), basic("pull").dropFirst(6).description] {
                #expect(!server.log.all.contains(secret))
            }
        }
    }
}
