import Foundation
import HTTPTypes
import NIOHPACK
import NIOHTTP2
import Synchronization
import TestSupport
import Testing

@testable import HTTPServer
@testable import Identity

@Suite("HTTP/2", .timeLimit(.minutes(5)), .serialized)
struct HTTP2Tests {
    private static func routes(_ path: String? = nil) -> Routes {
        var routes = Routes()
        routes.get("/ok", access: .open) { _ in .text("ok") }
        routes.get("/loop", access: .open, execution: .eventLoop) { .text($0.peer) }
        routes.get("/mine", access: .authenticated) { .text($0.principal?.name ?? "nobody") }
        routes.get("/authority", access: .open) { .text($0.authority ?? "-") }
        routes.get("/large", access: .open) { _ in .bytes([UInt8](repeating: 7, count: 1 << 20), contentType: "x/y") }
        routes.get("/stream", access: .open) { _ in
            .stream(contentType: "text/plain") { send in
                for number in 0..<3 { try await send(Array("\(number)".utf8)) }
            }
        }
        routes.get("/fails", access: .open) { _ in
            .stream(contentType: "text/plain") { send in
                try await send(Array("half".utf8))
                throw HTTPFailure.notFound
            }
        }
        routes.put("/upload", access: .open) { request in
            var count = 0
            for try await chunk in try request.body(maximum: 1 << 30) { count += chunk.count }
            return .text("\(count)", status: .created)
        }
        routes.put("/private", access: .authenticated) { request in
            .text("\(try await request.body(maximum: 1 << 30).collect().count)")
        }
        if let path {
            routes.get("/blob", access: .open) { request in
                let descriptor = open(path, O_RDONLY | O_CLOEXEC)
                return .file(
                    ResponseFile(length: Int64(lseek(descriptor, 0, SEEK_END)), descriptor: descriptor) { _, _ in
                        []
                    } close: {
                        close(descriptor)
                    }, for: request, contentType: "application/octet-stream")
            }
        }
        return routes
    }

    private func with(
        _ routes: Routes = routes(), limits: ServerLimits = ServerLimits(),
        _ body: @escaping @Sendable (HTTP2Client, TestServer) async throws -> Void
    ) async throws {
        try await TestServer.run(routes, limits: limits) { server async throws in
            try await HTTP2Client.with(port: server.secure, authority: server.directory.path + "/tls/ca.pem") {
                try await body($0, server)
            }
        }
    }

    @Test("Requests one after another on a connection are answered with exact lengths, and logged like others")
    func get() async throws {
        try await with { client, server async throws in
            for _ in 0..<3 {
                let answer = try await client.request("GET", "/ok", ["x-request-id": "abc-1"])
                #expect(answer.status == 200)
                #expect(answer.text == "ok")
                #expect(answer["content-length"] == "2")
                #expect(answer["date"]?.hasSuffix(" GMT") == true)
                #expect(answer["x-request-id"] == "abc-1")
            }
            #expect(try await client.request("GET", "/loop").text == "127.0.0.1")
            #expect(try await client.request("GET", "/authority").text == "localhost")
            #expect(try await client.request("GET", "/large").body == [UInt8](repeating: 7, count: 1 << 20))
            #expect(try await client.request("GET", "/stream").text == "012")
            #expect(try await client.request("GET", "/nowhere", ["authorization": basic("pull")]).status == 404)
            #expect(try await client.request("GET", "/mine").status == 401)
            #expect(try await client.request("GET", "/mine", ["authorization": basic("pull")]).text == "pull")
            #expect(server.server.openConnections == 1)
            #expect(
                try await eventually {
                    server.log.lines.filter { $0.contains("abc-1") && $0.contains("127.0.0.1") }.count == 3
                })
        }
    }

    @Test("HEAD has the headers of GET and no body", arguments: ["/ok", "/large", "/stream"])
    func head(path: String) async throws {
        try await with { client, _ async throws in
            let get = try await client.request("GET", path)
            let head = try await client.request("HEAD", path)
            #expect(head.status == 200)
            #expect(head["content-length"] == get["content-length"])
            #expect(head["content-type"] == get["content-type"])
            #expect(head.body.isEmpty)
        }
    }

    @Test("Files and their ranges come through whole, and nothing is sent by the system")
    func files() async throws {
        let directory = try TemporaryDirectory()
        let (path, content) = try directory.file("blob", bytes: 20 << 20)
        try await with(Self.routes(path)) { client, server async throws in
            #expect(try await client.request("GET", "/blob").body == content)
            for (range, expected) in [
                ("bytes=5-9", content[5...9]), ("bytes=-100000", content.suffix(100_000)),
                ("bytes=1000-3000000", content[1000...3_000_000]),
            ] {
                let answer = try await client.request("GET", "/blob", ["range": range])
                #expect(answer.status == 206)
                #expect(answer["content-length"] == "\(expected.count)")
                #expect(answer.body == Array(expected))
            }
            #expect(try await client.request("GET", "/blob", ["range": "bytes=99999999999-"]).status == 416)
            let several = try await client.request("GET", "/blob", ["range": "bytes=0-99999,2999990-2999999"])
            #expect(several.status == 206 && several["content-length"] == "\(several.body.count)")
            #expect(several["content-type"]?.hasPrefix("multipart/byteranges; boundary=") == true)
            for part in [content[..<100_000], content[2_999_990..<3_000_000]] {
                #expect(several.body.firstRange(of: part) != nil)
            }
            #expect(server.server.statistics.sentBySystem == 0)
            #expect(server.server.statistics.sentByReading > content.count)
        }
    }

    @Test("Bodies arrive whole: with a length, without one, larger than all windows, empty, and before trailers")
    func bodies() async throws {
        try await with { client, _ async throws in
            let large = [UInt8](repeating: 9, count: 5_000_000)
            for headers: HPACKHeaders in [["content-length": "5000000"], [:], ["expect": "100-continue"]] {
                let answer = try await client.request("PUT", "/upload", headers, body: large)
                #expect(answer.status == 201)
                #expect(answer.text == "5000000")
            }
            #expect(try await client.request("PUT", "/upload", body: []).text == "0")
            #expect(try await client.request("PUT", "/upload").text == "0")
            let answer = try await client.request(
                "PUT", "/upload", body: [1, 2, 3], trailers: ["x-checksum": "abc", "x-other": "d"])
            #expect(answer.text == "3")
        }
    }

    @Test("A hundred streams at once on one connection are answered, each with its own")
    func streams() async throws {
        let directory = try TemporaryDirectory()
        let (path, content) = try directory.file("blob", bytes: 300_000)
        try await with(Self.routes(path)) { client, server async throws in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<100 {
                    group.addTask { () async throws in
                        for _ in 0..<3 {
                            if number % 2 == 0 {
                                #expect(try await client.request("GET", "/blob").body == content)
                            } else {
                                let body = [UInt8](repeating: 1, count: 100_000 + number)
                                #expect(
                                    try await client.request("PUT", "/upload", body: body).text == "\(body.count)")
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(server.server.openConnections == 1)
        }
    }

    @Test("Bodies that nobody wants are called off, and the connection goes on with all its window")
    func early() async throws {
        try await with { client, _ async throws in
            let body = [UInt8](repeating: 1, count: 400_000)
            for _ in 0..<100 {
                let answer = try await client.request("PUT", "/private", ["content-length": "400000"], body: body)
                #expect(answer.status == 401)
            }
            let user: HPACKHeaders = ["authorization": basic("pull")]
            #expect(try await client.request("PUT", "/private", user, body: body).text == "400000")
        }
    }

    @Test("A response that breaks off does not look like one that ended")
    func broken() async throws {
        try await with { client, _ async throws in
            await #expect(throws: (any Error).self) { try await client.request("GET", "/fails") }
            #expect(try await client.request("GET", "/ok").text == "ok")
        }
    }

    @Test("Header bombs are refused as in HTTP/1.1, and what is no request is 400 or a reset")
    func malformed() async throws {
        try await with { client, _ async throws in
            var many = HPACKHeaders()
            for number in 0..<101 { many.add(name: "x-\(number)", value: "y") }
            #expect(try await client.request("GET", "/ok", many).status == 431)
            let long = String(repeating: "x", count: 9000)
            #expect(try await client.request("GET", "/ok", ["x": long + long]).status == 431)
            #expect(try await client.request("GET", "/ok?" + long).status == 414)
            #expect(try await client.request("GET", "ok").status == 400)
            #expect(try await client.request("OPTIONS", "*").status == 400)
            #expect(try await client.request("GET", "/ok").text == "ok")
        }
    }

    @Test("A stream that breaks the rules is reset, and the others of its connection go on")
    func errorsOfStreams() async throws {
        try await TestServer.run(Self.routes()) { server async throws in
            try await RawHTTP2.with(server) { raw async throws in
                try await raw.confirmSettings()
                try await raw.send(RawHTTP2.head(1, "PUT", "/upload", [("content-length", "3")], isEnd: false))
                let broken = [
                    RawHTTP2.head(3, "PUT", "/upload", [("content-length", "7")], isEnd: false)
                        + RawHTTP2.frame(.data, flags: 1, stream: 3, [1, 2, 3]),
                    RawHTTP2.head(5, "GET", "/ok", [("connection", "close")]),
                    RawHTTP2.head(7, "GET", "/ok", [("X-Upper", "a")]),
                    RawHTTP2.head(9, "GET", ""),
                ]
                for frames in broken {
                    try await raw.send(frames)
                    let refusal = await raw.next { $0.is(.reset) || $0.is(.goAway) }
                    #expect(refusal?.is(.reset) == true)
                }
                try await raw.send(RawHTTP2.frame(.data, flags: 1, stream: 1, [1, 2, 3]))
                let answer = await raw.next { $0.stream == 1 && $0.is(.data) }
                #expect(answer?.payload == Array("3".utf8))
            }
        }
    }

    @Test("What is no HTTP/2 behind ALPN's h2 closes the connection")
    func noPreface() async throws {
        try await TestServer.run(Self.routes()) { server async throws in
            let authority = server.directory.path + "/tls/ca.pem"
            for text in ["GET /ok HTTP/1.1\r\nHost: a\r\n\r\n", String(repeating: "x", count: 100)] {
                try await RawClient.with(port: server.secure, authority: authority, protocols: ["h2"]) {
                    client async throws in
                    try await client.send(text)
                    _ = try? await client.rest()
                }
            }
            #expect(try await eventually { server.server.openConnections == 0 })
        }
    }

    @Test(
        "Who does not ask for HTTP/2 gets HTTP/1.1, and plain listeners know nothing else",
        arguments: [[], ["http/1.1"], ["spdy/1"]])
    func fallback(protocols: [String]) async throws {
        try await TestServer.run(Self.routes()) { server async throws in
            let authority = server.directory.path + "/tls/ca.pem"
            try await RawClient.with(port: server.secure, authority: authority, protocols: protocols) {
                client async throws in
                #expect(try await client.request("GET", "/ok").text == "ok")
                #expect(try await client.request("GET", "/ok").text == "ok")
            }
            try await RawClient.with(port: server.plain) { client async throws in
                try await client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
                let text = String(decoding: try await client.rest(), as: UTF8.self)
                #expect(text.hasPrefix("HTTP/1.1 400 "))
            }
        }
    }

    @Test("A client certificate names the user on every stream")
    func certificates() async throws {
        let clients = try await ClientAuthority()
        let directory = try TemporaryDirectory()
        let own = CertificateAuthority(directory: directory.path)
        try own.prepare()
        let files = TLSFiles(
            certificate: own.files.certificate, key: own.files.key, clientAuthority: clients.path)
        let identity = try await clients.issue("/CN=ci")
        let authenticator = Authenticator(
            users: Htpasswd(), policy: try Policy(parsing: "users: {ci: {roles: [push]}}"))
        try await TestServer.run(Self.routes(), authenticator: authenticator, tls: try ServerTLS(files)) {
            server async throws in
            let authority = directory.path + "/ca.pem"
            try await HTTP2Client.with(port: server.secure, authority: authority, identity: identity) {
                client async throws in
                for _ in 0..<3 { #expect(try await client.request("GET", "/mine").text == "ci") }
            }
            try await HTTP2Client.with(port: server.secure, authority: authority) { client async throws in
                #expect(try await client.request("GET", "/mine").status == 401)
            }
        }
    }

    @Test("curl speaks HTTP/2 where it may: whole files, ranges, HEAD, uploads, and uploads that are refused early")
    func curl() async throws {
        let directory = try TemporaryDirectory()
        let (path, content) = try directory.file("blob", bytes: 3_000_000)
        try await TestServer.run(Self.routes(path)) { server async throws in
            let base = "https://localhost:\(server.secure)"
            let rows: [(arguments: [String], expected: String)] = [
                (["--http2", base + "/blob"], "2 200 \(content.count)"),
                (["--http1.1", base + "/blob"], "1.1 200 \(content.count)"),
                (["--http2", "-r", "5-9", base + "/blob"], "2 206 5"),
                (["--http2", "-I", base + "/blob"], "2 200 0"),
                (["--http2", "-T", path, base + "/upload"], "2 201 7"),
                (["--http2", "-T", path, base + "/private"], "2 401"),
                (["--http2", "-u", "pull:secret", "-T", path, base + "/private"], "2 200 7"),
                (["--http2", "http://127.0.0.1:\(server.plain)/ok"], "1.1 200 2"),
            ]
            for row in rows {
                let result = try await run(
                    "/usr/bin/curl",
                    [
                        "-sS", "--cacert", server.directory.path + "/tls/ca.pem", "-o", directory.path + "/out", "-w",
                        "%{http_version} %{http_code} %{size_download}",
                    ] + row.arguments)
                #expect(result.status == 0, "\(row) \(result.output)")
                #expect(result.output.hasPrefix(row.expected), "\(row) \(result.output)")
            }
        }
    }
}
