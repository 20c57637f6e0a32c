import JSON
import TestSupport
import Testing

@testable import HTTPServer
@testable import Identity

@Suite("Plain HTTP sent to a port with TLS", .timeLimit(.minutes(5)))
struct PlainRequestTests {
    private static var routes: Routes {
        var routes = Routes()
        routes.get("/ok", access: .open) { _ in .text("ok") }
        return routes
    }

    @Test(
        "It is answered 400 with a sentence, and others are served",
        arguments: ["GET", "POST", "DELETE", "PRI", "get", "OPTIONS"], [0, 1, 300_000])
    func answered(method: String, length: Int) async throws {
        try await TestServer.run(Self.routes) { server async throws in
            let answer = try await RawClient.with(port: server.secure) { client async throws in
                try await client.request(method, "/ok", body: [UInt8](repeating: 1, count: length))
            }
            #expect(answer.status == 400 && answer["connection"] == "close")
            let json = try JSONValue(parsing: answer.body)
            #expect(json["errors"]?.array?.first?["message"]?.string?.contains("https://") == true)
            let authority = server.directory.path + "/tls/ca.pem"
            try await RawClient.with(port: server.secure, authority: authority) { client async throws in
                #expect(try await client.request("GET", "/ok").text == "ok")
            }
        }
    }

    @Test("The connection ends after it, whether or not the client closes its side", arguments: [true, false])
    func ends(closes: Bool) async throws {
        var limits = ServerLimits()
        limits.lingerTime = .milliseconds(200)
        try await TestServer.run(Self.routes, limits: limits) { server async throws in
            try await RawClient.with(port: server.secure) { client async throws in
                try await client.send("G")
                #expect(try await client.answer().status == 400)
                if closes { client.finish() }
                #expect(try await client.rest().isEmpty)
            }
            #expect(try await eventually { server.server.openConnections == 0 })
        }
    }

    @Test(
        "What is neither TLS nor HTTP gets no such answer",
        arguments: ["\u{0}\u{0}", "\r\n\r\n", " GET", "\u{16}GET / HTTP/1.1\r\n\r\n"])
    func others(bytes: String) async throws {
        try await TestServer.run(Self.routes) { server async throws in
            let received = try await RawClient.with(port: server.secure) { client async throws in
                try await client.send(bytes)
                client.finish()
                return (try? await client.rest()) ?? []
            }
            #expect(!String(decoding: received, as: UTF8.self).contains("HTTP"))
        }
    }
}
