import TestSupport
import Testing

@testable import HTTPServer
@testable import Identity

@Suite("Heads that others may read differently", .timeLimit(.minutes(5)))
struct RequestFramingTests {
    private static var routes: Routes {
        var routes = Routes()
        routes.get("/ok", access: .open) { .text($0.authority ?? "-") }
        routes.put("/upload", access: .open) { request in
            var count = 0
            for try await chunk in try request.body(maximum: .max) { count += chunk.count }
            return .text("\(count)")
        }
        return routes
    }

    @Test(
        "One Host, one length that can be, and chunked alone are taken; the rest is refused with a sentence, and closed"
    )
    func heads() async throws {
        let chunks = "5\r\nhello\r\n0\r\n\r\n"
        let rows: [(head: String, status: Int, text: String)] = [
            ("GET /ok HTTP/1.1\r\nHost: a:1\r\n\r\n", 200, "a:1"),
            ("GET /ok HTTP/1.1\r\nHost: [::1]:1\r\n\r\n", 200, "[::1]:1"),
            ("GET /ok HTTP/1.1\r\nHost:\r\n\r\n", 200, ""), ("GET /ok HTTP/1.0\r\n\r\n", 200, "-"),
            ("GET /ok HTTP/1.1\r\n\r\n", 400, "Host"), ("GET /ok HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "Host"),
            ("GET /ok HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", 400, "Host"),
            ("GET /ok HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400, "Host"),
            ("GET /ok HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "Host"),
            ("GET /ok HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "Host"),
            ("GET /ok HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, "Host"),
            ("GET /ok HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, "Host"),
            ("GET http://a/ok HTTP/1.1\r\n\r\n", 400, "Host"),
            ("PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 200, "5"),
            (
                "PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\nhello", 400,
                "Content-Length"
            ),
            (
                "PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\nhello", 400,
                "Content-Length"
            ),
            ("PUT /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\(chunks)", 200, "5"),
            ("PUT /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\(chunks)", 200, "5"),
            ("PUT /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n\(chunks)", 501, "chunked"),
            (
                "PUT /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n\(chunks)",
                501, "chunked"
            ),
            ("PUT /upload HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\(chunks)", 501, "chunked"),
        ]
        try await TestServer.run(Self.routes) { server async throws in
            for row in rows {
                try await RawClient.with(port: server.plain) { client async throws in
                    // A second request that must not be answered where the first one's end is in doubt.
                    try await client.send(row.head + "GET /ok HTTP/1.1\r\nHost: second\r\n\r\n")
                    let answer = try await client.answer()
                    #expect(answer.status == row.status, "\(row)")
                    if row.status == 200 {
                        #expect(answer.text == row.text, "\(row)")
                    } else {
                        #expect(answer.text.contains(row.text) && answer["connection"] == "close", "\(row)")
                        #expect(try await client.rest().isEmpty, "\(row)")
                    }
                }
            }
        }
    }

    @Test("The request before one that is refused is answered first")
    func order() async throws {
        try await TestServer.run(Self.routes) { server async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                try await client.send("GET /ok HTTP/1.1\r\nHost: a\r\n\r\nGET /ok HTTP/1.1\r\n\r\n")
                #expect(try await client.answer().text == "a")
                #expect(try await client.answer().status == 400)
                #expect(try await client.rest().isEmpty)
            }
        }
    }

    private static var hasty: ServerLimits {
        var limits = ServerLimits()
        limits.progressTime = .milliseconds(500)
        return limits
    }

    @Test("A chunk's extension that goes on and on is no progress")
    func extensions() async throws {
        try await TestServer.run(Self.routes, limits: Self.hasty) { server async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                try await client.send("PUT /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=")
                let ended = Count()
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        defer { ended.add(1) }
                        let answer = try await client.answer()
                        #expect(answer.status == 408)
                    }
                    // Ten times what a body would have to bring.
                    while ended.value == 0 {
                        try? await client.send(String(repeating: "x", count: 2048))
                        try await Task.sleep(for: .milliseconds(100))
                    }
                    try await group.waitForAll()
                }
            }
        }
    }

    @Test("A body that comes in chunks of a byte is progress")
    func smallChunks() async throws {
        // So long that a loaded machine keeps up, and shorter than the whole.
        var limits = ServerLimits()
        limits.progressTime = .seconds(2)
        try await TestServer.run(Self.routes, limits: limits) { server async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                try await client.send("PUT /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                for _ in 0..<20 {
                    try await client.send(String(repeating: "1\r\nx\r\n", count: 10_000))
                    try await Task.sleep(for: .milliseconds(150))
                }
                try await client.send("0\r\n\r\n")
                #expect(try await client.answer().text == "200000")
            }
        }
    }
}
