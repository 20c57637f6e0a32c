import Identity
import Synchronization
import TestSupport
import Testing

@testable import HTTPServer

@Suite("Work whose client is gone is cancelled", .timeLimit(.minutes(5)))
struct CancellationTests {
    /// A route that works until it is cancelled, and counts both.
    private struct Work: Sendable {
        let begun = Count()
        let cancelled = Count()

        var routes: Routes {
            var routes = Routes()
            for execution in [Execution.pool, .eventLoop] {
                let pattern: RoutePattern = if case .pool = execution { "/pool" } else { "/loop" }
                routes.get(pattern, access: .open, execution: execution) { _ in
                    begun.add(1)
                    do { try await Task.sleep(for: .seconds(3600)) } catch {
                        cancelled.add(1)
                        throw error
                    }
                    return .text("done")
                }
            }
            return routes
        }
    }

    @Test(
        "HTTP/1.1: the client closes or resets its connection, on which the work runs or waits",
        arguments: ["closed", "reset"], [false, true])
    func http1(how: String, isSecure: Bool) async throws {
        let work = Work()
        try await TestServer.run(work.routes) { server async throws in
            for path in ["/pool", "/loop"] {
                let before = work.cancelled.value
                try await RawClient.with(
                    port: isSecure ? server.secure : server.plain,
                    authority: isSecure ? server.directory.path + "/tls/ca.pem" : nil
                ) { client async throws in
                    try await client.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
                    #expect(try await eventually { work.begun.value == before + 1 })
                    if how == "reset" { try await client.reset() }
                }
                #expect(try await eventually { work.cancelled.value == before + 1 }, "\(path)")
            }
            #expect(try await eventually { server.log.all.contains(#""status":499"#) })
            #expect(!server.log.all.contains("a request failed"), "a client that goes is nobody's failure")
        }
    }

    @Test("HTTP/2: the client resets one stream, and then closes the connection")
    func http2() async throws {
        let work = Work()
        try await TestServer.run(work.routes) { server async throws in
            try await RawHTTP2.with(server) { raw async throws in
                try await raw.confirmSettings()
                try await raw.send(RawHTTP2.head(1, "GET", "/pool"), RawHTTP2.head(3, "GET", "/loop"))
                #expect(try await eventually { work.begun.value == 2 })
                try await raw.send(RawHTTP2.frame(.reset, stream: 1, [0, 0, 0, 8]))
                #expect(try await eventually { work.cancelled.value == 1 })
            }
            #expect(try await eventually { work.cancelled.value == 2 })
        }
    }

    @Test("A client that only says that it sends no more gets its answer")
    func halfClosed() async throws {
        var limits = ServerLimits()
        limits.halfClosedTime = .seconds(600)
        let go = Count()
        var routes = Routes()
        routes.get("/", access: .open) { _ async throws in
            #expect(try await eventually { go.value == 1 })
            return .text("done")
        }
        try await TestServer.run(routes, limits: limits) { server async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                try await client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                client.finish()
                go.add(1)
                #expect(try await client.answer().text == "done")
            }
        }
    }
}
