import HTTPTypes
import Identity
import Synchronization
import TestSupport
import Testing

@testable import HTTPServer

@Suite("Request bodies", .timeLimit(.minutes(5)))
struct RequestBodyTests {
    /// What the route saw of a body.
    private final class Seen: Sendable {
        let bytes = Count()
        let endings = Mutex<[String]>([])
    }

    private func with(
        limits: ServerLimits = ServerLimits(), maximum: Int64 = 1 << 30,
        _ body: @escaping @Sendable (TestServer, Seen) async throws -> Void
    ) async throws {
        let seen = Seen()
        var routes = Routes()
        routes.put("/upload", access: .open) { request in
            do {
                var count = 0
                for try await chunk in try request.body(maximum: maximum) {
                    count += chunk.count
                    seen.bytes.add(chunk.count)
                }
                seen.endings.withLock { $0.append("whole") }
                return .text("\(count)", status: .created)
            } catch {
                seen.endings.withLock { $0.append((error as? HTTPFailure).map { "\($0.status.code)" } ?? "\(error)") }
                throw error
            }
        }
        routes.put("/private", access: .authenticated) { request in
            .text("\(try await request.body(maximum: maximum).collect().count)")
        }
        routes.get("/ok", access: .open) { _ in .text("ok") }
        try await TestServer.run(routes, limits: limits) { try await body($0, seen) }
    }

    @Test("A body arrives whole, with a length or chunked, and the connection goes on", arguments: [true, false])
    func whole(isSecure: Bool) async throws {
        try await with { server, _ async throws in
            try await RawClient.with(
                port: isSecure ? server.secure : server.plain,
                authority: isSecure ? server.directory.path + "/tls/ca.pem" : nil
            ) { client async throws in
                let large = [UInt8](repeating: 9, count: 5_000_000)
                #expect(try await client.request("PUT", "/upload", body: large).text == "5000000")
                try await client.send("PUT /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                try await client.send("5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n")
                #expect(try await client.answer().text == "11")
                #expect(try await client.request("PUT", "/upload").text == "0")
                #expect(try await client.request("GET", "/ok").text == "ok")
            }
        }
    }

    @Test("A declared length over the bound is 413 before a byte is read")
    func declaredTooLarge() async throws {
        try await with(maximum: 1000) { server, seen async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                try await client.send(
                    "PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000000\r\nExpect: 100-continue\r\n\r\n")
                let answer = try await client.answer()
                #expect(answer.status == 413)
                #expect(answer["connection"] == "close")
                #expect(try await client.rest().isEmpty)
            }
            #expect(seen.bytes.value == 0)
        }
    }

    @Test("A chunked body over the bound is 413")
    func chunkedTooLarge() async throws {
        try await with(maximum: 1000) { server, _ async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                try await client.send("PUT /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                try await client.send("3e9\r\n" + String(repeating: "x", count: 1001) + "\r\n")
                #expect(try await client.answer().status == 413)
            }
        }
    }

    @Test("'Expect: 100-continue' is answered when the body is wanted")
    func continues() async throws {
        try await with { server, _ async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                for _ in 0..<2 {
                    try await client.send(
                        "PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
                    #expect(try await client.answer().status == 100)
                    try await client.send("hello")
                    let answer = try await client.answer()
                    #expect(answer.status == 201)
                    #expect(answer.text == "5")
                }
            }
        }
    }

    @Test("Who is not known is told so without being asked for the body")
    func noContinue() async throws {
        try await with { server, _ async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                try await client.send(
                    "PUT /private HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\nExpect: 100-continue\r\n\r\n")
                let answer = try await client.answer()
                #expect(answer.status == 401)
                #expect(answer["connection"] == "close")
                #expect(try await client.rest().isEmpty)
            }
        }
    }

    @Test("A client that sends a large body all the same reads its 401 and no reset", arguments: [true, false])
    func earlyAnswer(isSecure: Bool) async throws {
        try await with { server, _ async throws in
            for _ in 0..<5 {
                try await RawClient.with(
                    port: isSecure ? server.secure : server.plain,
                    authority: isSecure ? server.directory.path + "/tls/ca.pem" : nil
                ) { client async throws in
                    try await client.send("PUT /private HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n")
                    for _ in 0..<20 { try await client.send([UInt8](repeating: 1, count: 1_000_000)) }
                    #expect(try await client.answer().status == 401)
                }
            }
        }
    }

    @Test("A small unread body does not cost the connection")
    func smallUnread() async throws {
        try await with { server, _ async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                #expect(try await client.request("PUT", "/private", body: [1, 2, 3]).status == 401)
                #expect(try await client.request("GET", "/ok").text == "ok")
            }
        }
    }

    @Test("A body that breaks off never looks like one that ended", arguments: ["half", "reset", "chunked"])
    func broken(how: String) async throws {
        try await with { server, seen async throws in
            try? await RawClient.with(port: server.plain) { client async throws in
                if how == "chunked" {
                    try await client.send("PUT /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                    try await client.send("5\r\nhello\r\n")
                } else {
                    try await client.send("PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello")
                }
                #expect(try await eventually { seen.bytes.value == 5 })
                if how == "reset" { try await client.reset() } else { client.finish() }
                _ = try await client.rest()
            }
            #expect(try await eventually { seen.endings.withLock { !$0.isEmpty } })
            #expect(seen.endings.withLock { $0 } == ["400"])
        }
    }

    @Test("A chunk that is malformed is 400")
    func badChunk() async throws {
        try await with { server, seen async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                try await client.send("PUT /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                try await client.send("5\r\nhello\r\nzz\r\n")
                #expect(try await client.answer().status == 400)
                #expect(try await client.rest().isEmpty)
            }
            #expect(seen.endings.withLock { $0 } == ["400"])
        }
    }

    @Test("A client that stops sending is told 408 and closed")
    func stalled() async throws {
        var limits = ServerLimits()
        limits.progressTime = .milliseconds(200)
        try await with(limits: limits) { server, seen async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                try await client.send("PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello")
                #expect(try await client.answer().status == 408)
                #expect(try await client.rest().isEmpty)
            }
            #expect(seen.endings.withLock { $0 } == ["408"])
        }
    }

    @Test("A slow reader of a body slows its sender down")
    func backPressure() async throws {
        let gate = Count()
        let taken = Count()
        var routes = Routes()
        routes.put("/slow", access: .open) { request in
            for try await chunk in try request.body(maximum: 1 << 40) {
                taken.add(chunk.count)
                _ = try await eventually { gate.value == 1 }
            }
            return .text("done")
        }
        try await TestServer.run(routes) { server async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                let sent = Count()
                try await client.send("PUT /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 200000000\r\n\r\n")
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        for _ in 0..<200 {
                            try await client.send([UInt8](repeating: 1, count: 1_000_000))
                            sent.add(1)
                        }
                    }
                    // The sender gets stuck once the buffers between are full.
                    var last = -1
                    _ = try await eventually {
                        let now = sent.value
                        try await Task.sleep(for: .milliseconds(300))
                        return now == sent.value
                    }
                    last = sent.value
                    // The system alone may hold some 64 MB on loopback.
                    #expect(last < 150)
                    gate.add(1)
                    try await group.waitForAll()
                }
                #expect(try await client.answer().text == "done")
                #expect(taken.value == 200_000_000)
            }
        }
    }
}
