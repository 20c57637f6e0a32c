import HTTPTypes
import Identity
import TestSupport
import Testing

@testable import HTTPServer

@Suite("The server", .timeLimit(.minutes(5)))
struct ServerTests {
    private static var routes: Routes {
        var routes = Routes()
        routes.get("/open", access: .open) { _ in .text("hello") }
        routes.get("/loop", access: .open, execution: .eventLoop) { request in .text(request.peer) }
        routes.get("/mine", access: .authenticated) { .text($0.principal?.name ?? "nobody") }
        routes.get("/operators", access: .role(.operator)) { _ in .text("secret") }
        routes.get("/echo/:one/:two", access: .open) { .text($0.parameters["one"] + "|" + $0.parameters["two"]) }
        routes.get("/stream", access: .open) { _ in
            .stream(contentType: "text/plain") { send in
                for number in 0..<3 { try await send(Array("\(number)".utf8)) }
            }
        }
        routes.get("/fails", access: .open) { _ in throw Inside() }
        routes.get("/large", access: .open) { _ in .bytes([UInt8](repeating: 7, count: 1 << 20), contentType: "x/y") }
        return routes
    }

    private struct Inside: Error { let secret = "the inside" }

    private func with(_ body: @escaping @Sendable (RawClient) async throws -> Void) async throws {
        try await TestServer.run(Self.routes) { server async throws in
            try await RawClient.with(port: server.plain, body)
        }
    }

    @Test("One connection serves request after request, with exact lengths and a date")
    func keepAlive() async throws {
        try await with { client async throws in
            for _ in 0..<3 {
                let answer = try await client.request("GET", "/open")
                #expect(answer.status == 200)
                #expect(answer.text == "hello")
                #expect(answer["content-length"] == "5")
                #expect(answer["date"]?.hasSuffix(" GMT") == true)
                #expect(answer["connection"] == nil)
            }
            #expect(try await client.request("GET", "/loop").text == "127.0.0.1")
            #expect(try await client.request("GET", "/large").body == [UInt8](repeating: 7, count: 1 << 20))
        }
    }

    @Test("Pipelined requests are answered in order")
    func pipelining() async throws {
        try await with { client async throws in
            let paths = (0..<50).map { "/echo/\($0)/x" }
            try await client.send(paths.map { "GET \($0) HTTP/1.1\r\nHost: a\r\n\r\n" }.joined())
            for number in 0..<50 { #expect(try await client.answer().text == "\(number)|x") }
        }
    }

    @Test("HEAD has the headers of GET and no body", arguments: ["/open", "/large"])
    func head(path: String) async throws {
        try await with { client async throws in
            let get = try await client.request("GET", path)
            let head = try await client.request("HEAD", path)
            #expect(head.status == 200)
            #expect(head["content-length"] == get["content-length"])
            #expect(head["content-type"] == get["content-type"])
            // What follows on the connection is the next answer and not a body.
            #expect(try await client.request("GET", "/open").text == "hello")
        }
    }

    @Test("A stream of unknown length is chunked, and HEAD of it sends nothing")
    func stream() async throws {
        try await with { client async throws in
            #expect(try await client.request("GET", "/stream").text == "012")
            #expect(try await client.request("HEAD", "/stream")["content-length"] == nil)
            #expect(try await client.request("GET", "/open").text == "hello")
        }
    }

    @Test(
        "HTTP/1.0 and 'Connection: close' end the connection after the answer",
        arguments: [
            "GET /open HTTP/1.0\r\n\r\n", "GET /open HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
            "GET /open HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "GET /open HTTP/1.1\r\nHost: a\r\nConnection: Close, TE\r\n\r\n",
        ])
    func close(request: String) async throws {
        try await with { client async throws in
            try await client.send(request)
            let text = String(decoding: try await client.rest(), as: UTF8.self)
            #expect(text.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(text.lowercased().contains("\r\nconnection: close\r\n"))
            #expect(text.hasSuffix("\r\n\r\nhello"))
        }
    }

    @Test(
        "Who is not known gets 401 with a challenge, everywhere but on open routes",
        arguments: [
            "/mine", "/operators", "/nowhere", "/", "/openx", "/echo/%2/x",
        ])
    func challenge(path: String) async throws {
        try await with { client async throws in
            for headers in [[:], ["Authorization": basic("pull", "wrong")], ["Authorization": "Bearer x"]] {
                let answer = try await client.request("GET", path, headers)
                if path.hasPrefix("/echo") {
                    #expect(answer.status == 401)
                    continue
                }
                #expect(answer.status == 401)
                #expect(answer["www-authenticate"] == #"Basic realm="cistern""#)
            }
        }
    }

    @Test("Known users get what their roles allow")
    func roles() async throws {
        try await with { client async throws in
            let user = ["Authorization": basic("pull")]
            #expect(try await client.request("GET", "/mine", user).text == "pull")
            #expect(try await client.request("GET", "/operators", user).status == 403)
            #expect(try await client.request("GET", "/nowhere", user).status == 404)
            let other = try await client.request("PUT", "/mine", user)
            #expect(other.status == 405)
            #expect(other["allow"] == "GET")
            let `operator` = ["Authorization": basic("operator")]
            #expect(try await client.request("GET", "/operators", `operator`).text == "secret")
        }
    }

    @Test("An error that no table knows is 500 with the request's id and nothing from the inside")
    func inside() async throws {
        try await TestServer.run(Self.routes) { server async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                let answer = try await client.request("GET", "/fails", ["X-Request-Id": "abc-123"])
                #expect(answer.status == 500)
                #expect(answer.text.contains("abc-123"))
                #expect(!answer.text.contains("inside\""))
                #expect(!answer.text.contains("Inside"))
            }
            #expect(try await eventually { server.log.all.contains("the inside") })
        }
    }

    @Test(
        "A sane request id is taken and echoed; any other is replaced",
        arguments: [
            ("abc-123", true), ("a b", false), (String(repeating: "x", count: 129), false), ("a\"b", false),
            ("é", false),
        ])
    func requestIDs(id: String, isTaken: Bool) async throws {
        try await with { client async throws in
            for header in ["X-Request-Id", "X-VCAP-REQUEST-ID"] {
                let answer = try await client.request("GET", "/open", [header: id])
                #expect(answer.status == 200)
                #expect((answer["x-request-id"] == id) == isTaken)
                #expect(answer["x-vcap-request-id"] == answer["x-request-id"])
                #expect(answer["x-request-id"]?.isEmpty == false)
            }
        }
    }

    @Test(
        "Path parameters are unescaped; what is not escaped as it should be is refused",
        arguments: [
            ("/echo/a/b", 200, "a|b"), ("/echo/a%20b/%C3%A9", 200, "a b|é"), ("/echo/%2e%2e/x", 200, "..|x"),
            ("/echo/a%2Fb/x", 200, "a/b|x"),
        ])
    func parameters(path: String, status: Int, text: String) async throws {
        try await with { client async throws in
            let answer = try await client.request("GET", path)
            #expect(answer.status == status)
            #expect(answer.text == text)
        }
    }

    @Test(
        "Parameters with broken escapes, NUL or no UTF-8 are 400 for a known user",
        arguments: [
            "/echo/%/x", "/echo/%zz/x", "/echo/%00/x", "/echo/%FF/x",
        ])
    func brokenParameters(path: String) async throws {
        try await with { client async throws in
            #expect(try await client.request("GET", path, ["Authorization": basic("pull")]).status == 400)
        }
    }

    @Test(
        "What is no HTTP is answered with 400 and closed",
        arguments: [
            "HELLO\r\n\r\n", "GET /open HTTP/1.1\r\nbad header\r\n\r\n", "GET  HTTP/1.1\r\n\r\n",
            "POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
            "POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
            "GET open HTTP/1.1\r\nHost: a\r\n\r\n", "GET /open HTTP/2.0\r\nHost: a\r\n\r\n",
        ])
    func malformed(request: String) async throws {
        try await with { client async throws in
            try await client.send(request)
            let text = String(decoding: try await client.rest(), as: UTF8.self)
            #expect(text.hasPrefix("HTTP/1.1 400 Bad Request\r\n"), "\(text)")
        }
    }

    @Test(
        "Header bombs are refused",
        arguments: [
            "GET /open HTTP/1.1\r\nX: " + String(repeating: "x", count: 70_000) + "\r\n\r\n",
            "GET /open HTTP/1.1\r\n" + String(repeating: "X: y\r\n", count: 2000) + "\r\n",
            "GET /open HTTP/1.1\r\n"
                + (0..<90).map { "X\($0): " + String(repeating: "y", count: 1000) + "\r\n" }.joined()
                + "\r\n",
            "GET /" + String(repeating: "x", count: 70_000) + " HTTP/1.1\r\n\r\n",
        ])
    func bombs(request: String) async throws {
        try await with { client async throws in
            try await client.send(request)
            let text = String(decoding: try await client.rest(), as: UTF8.self)
            #expect(text.hasPrefix("HTTP/1.1 431 "), "\(text.prefix(100))")
        }
    }

    @Test("A request that is none is answered after those before it, which keep their own answers")
    func brokenBehind() async throws {
        try await with { client async throws in
            let good = "GET /open HTTP/1.1\r\nHost: a\r\n\r\n"
            try await client.send(good + good + "GET / HTTP/1.1\r\n" + String(repeating: "X: y\r\n", count: 200))
            for status in [200, 200, 431] { #expect(try await client.answer().status == status) }
            #expect(try await client.rest().isEmpty)
        }
    }

    @Test("A long request target is 414 and a long Authorization is 401")
    func longTarget() async throws {
        try await with { client async throws in
            let path = "/open?" + String(repeating: "x", count: 9000)
            #expect(try await client.request("GET", path).status == 414)
            let authorization = "Basic " + String(repeating: "QUJD", count: 2000)
            #expect(try await client.request("GET", "/mine", ["Authorization": authorization]).status == 401)
        }
    }

    @Test("An absolute request target is answered like its path")
    func absoluteTarget() async throws {
        try await with { client async throws in
            #expect(try await client.request("GET", "http://localhost/open").text == "hello")
        }
    }
}
