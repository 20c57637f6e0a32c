import Identity
import TestSupport
import Testing

@testable import HTTPServer

@Suite("Clients that take their time", .timeLimit(.minutes(5)))
struct DeadlineTests {
    private static var routes: Routes {
        var routes = Routes()
        routes.get("/ok", access: .open) { _ in .text("ok") }
        return routes
    }

    private static var hasty: ServerLimits {
        var limits = ServerLimits()
        limits.headTime = .milliseconds(300)
        limits.idleTime = .milliseconds(300)
        return limits
    }

    @Test(
        "Connections that send nothing, or a head that does not end, are closed", arguments: [true, false],
        ["", "GET /"])
    func slowHead(isSecure: Bool, text: String) async throws {
        try await TestServer.run(Self.routes, limits: Self.hasty) { server async throws in
            // Without TLS on a TLS port: a handshake that does not come is no better than a head that does not come.
            try await RawClient.with(port: isSecure ? server.secure : server.plain) { client async throws in
                try await client.send(isSecure ? "" : text)
                // What arrives too late is answered by a reset.
                #expect((try? await client.rest()) ?? [] == [])
            }
        }
    }

    @Test("A head that trickles is not kept alive by its trickling")
    func slowloris() async throws {
        try await TestServer.run(Self.routes, limits: Self.hasty) { server async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                try await client.send("GET /ok HTTP/1.1\r\n")
                await #expect(throws: (any Error).self) {
                    for number in 0..<10_000 {
                        try await client.send("X-\(number): y\r\n")
                        try await Task.sleep(for: .milliseconds(20))
                    }
                }
            }
        }
    }

    @Test("An idle connection is closed after a while")
    func idle() async throws {
        var limits = ServerLimits()
        limits.idleTime = .milliseconds(300)
        try await TestServer.run(Self.routes, limits: limits) { server async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                #expect(try await client.request("GET", "/ok").text == "ok")
                #expect(try await client.rest().isEmpty)
            }
        }
    }

    @Test("Beyond the bound a new connection is served at once, and the oldest idle one makes room")
    func bound() async throws {
        var limits = ServerLimits()
        limits.connections = 2
        try await TestServer.run(Self.routes, limits: limits) { server async throws in
            try await RawClient.with(port: server.plain) { one async throws in
                #expect(try await one.request("GET", "/ok").text == "ok")
                try await RawClient.with(port: server.secure, authority: server.directory.path + "/tls/ca.pem") {
                    two async throws in
                    #expect(try await two.request("GET", "/ok").text == "ok")
                    try await RawClient.with(port: server.plain) { three async throws in
                        #expect(try await three.request("GET", "/ok").text == "ok")
                    }
                    #expect(try await two.request("GET", "/ok").text == "ok")
                }
                #expect(((try? await one.rest()) ?? []).isEmpty)
            }
        }
    }

    @Test("An address beyond its bound is turned away; when one of its connections closes it is let in again")
    func boundOfAddress() async throws {
        var limits = ServerLimits()
        limits.connectionsOfAddress = 2
        try await TestServer.run(Self.routes, limits: limits) { server async throws in
            try await RawClient.with(port: server.plain) { one async throws in
                try await RawClient.with(port: server.plain) { two async throws in
                    #expect(try await one.request("GET", "/ok").text == "ok")
                    #expect(try await two.request("GET", "/ok").text == "ok")
                    for _ in 0..<20 {
                        await #expect(throws: (any Error).self) {
                            try await RawClient.with(port: server.plain) { try await $0.request("GET", "/ok").text }
                        }
                    }
                    #expect(try await one.request("GET", "/ok").text == "ok")
                    #expect(server.server.openConnections == 2)
                    try await two.reset()
                }
            }
            #expect(
                try await eventually {
                    (try? await RawClient.with(port: server.plain) { try await $0.request("GET", "/ok").text }) == "ok"
                })
            #expect(server.log.lines.filter { $0.contains("finds no room") }.count == 1, "once a minute")
        }
    }

    @Test("Hundreds of idle connections do not keep others from being served")
    func many() async throws {
        try await TestServer.run(Self.routes) { server async throws in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<300 {
                    group.addTask {
                        try await RawClient.with(port: server.plain) { client async throws in
                            try await client.send("GET /")
                            _ = try await client.rest()
                        }
                    }
                }
                #expect(try await eventually { server.server.openConnections == 300 })
                try await RawClient.with(port: server.plain) { client async throws in
                    #expect(try await client.request("GET", "/ok").text == "ok")
                }
                await server.stop()
                try await group.waitForAll()
            }
        }
    }
}
