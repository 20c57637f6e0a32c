import HTTPTypes
import Logging
import TestSupport
import Testing

@testable import HTTPServer
@testable import Identity

@Suite("Routes")
struct RoutesTests {
    private static var routes: Routes {
        var routes = Routes()
        for pattern in ["/v2/**", "/droplets/:guid", "/droplets/:guid/:hash", "/droplets/all", "/", "/healthz"] {
            routes.get(RoutePattern(stringLiteral: pattern), access: .open) { request in
                .text(pattern + " " + request.parameters["guid"] + " " + request.parameters["hash"])
            }
        }
        routes.put("/droplets/:guid", access: .open) { _ in .text("put") }
        routes.on(nil, "/any/**", access: .open) { .text($0.method.rawValue) }
        routes.get("/any/get", access: .open) { _ in .text("get") }
        routes.get("/any/**", access: .open) { _ in .text("any get") }
        routes.get("/own", access: .open) { _ in .text("get") }
        routes.head("/own", access: .open) { _ in .text("head") }
        return routes
    }

    private func text(_ method: HTTPRequest.Method, _ path: String) async throws -> String {
        switch Self.routes.match(method, path) {
        case .none: return "none"
        case .badPath: return "bad"
        case .otherMethods(let methods, _): return methods.map(\.rawValue).joined(separator: ",")
        case .found(let route, let parameters):
            var request = Request(method: method, target: path)
            request.parameters = parameters
            guard case .bytes(let bytes) = try await route.handler(request).body else { return "" }
            return String(decoding: bytes, as: UTF8.self)
        }
    }

    @Test(
        "A path finds the route that says most about it",
        arguments: [
            (.get, "/", "/  "), (.get, "/healthz", "/healthz  "), (.get, "/v2", "/v2/**  "), (.get, "/v2/", "/v2/**  "),
            (.get, "/v2/a/b/manifests/c", "/v2/**  "), (.get, "/v2x", "none"),
            (.get, "/droplets/1", "/droplets/:guid 1 "),
            (.get, "/droplets/1/2", "/droplets/:guid/:hash 1 2"), (.get, "/droplets/all", "/droplets/all  "),
            (.get, "/droplets", "none"), (.get, "/droplets/", "none"), (.get, "/droplets/1/", "none"),
            (.get, "/droplets/1/2/3", "none"), (.get, "//", "none"), (.get, "", "none"), (.get, "droplets/1", "none"),
            (.get, "/droplets/%41", "/droplets/:guid A "), (.get, "/droplets/%4", "bad"), (.put, "/droplets/1", "put"),
            (.head, "/droplets/1", "/droplets/:guid 1 "), (.delete, "/droplets/1", "GET,PUT"),
            (.post, "/droplets/1/2", "GET"),
            (.delete, "/any/x", "DELETE"), (.get, "/any/x", "any get"), (.head, "/any/x", "any get"),
            (.head, "/own", "head"), (.get, "/own", "get"), (.get, "/any/get", "get"), (.put, "/any/get", "PUT"),
        ] as [(HTTPRequest.Method, String, String)])
    func matching(method: HTTPRequest.Method, path: String, expected: String) async throws {
        #expect(try await text(method, path) == expected)
    }

    @Test("Query parameters are unescaped, and the first one counts")
    func query() throws {
        let request = Request(target: "/x?a=1&b=%20%2B+&a=2&flag&empty=&%62%63=d")
        #expect(try request.query("a") == "1")
        #expect(try request.query("b") == " + ")
        #expect(try request.query("flag") == "")
        #expect(try request.query("empty") == "")
        #expect(try request.query("bc") == "d")
        #expect(try request.query("c") == nil)
        #expect(throws: HTTPFailure.self) { try Request(target: "/x?a=%").query("a") }
    }

    @Test(
        "Addresses to listen on",
        arguments: [
            ("127.0.0.1:8443", "127.0.0.1", 8443), ("[::1]:0", "::1", 0), ("localhost:1", "localhost", 1),
            ("0.0.0.0:65535", "0.0.0.0", 65535), ("[::]:8443", "::", 8443),
        ])
    func addresses(text: String, host: String, port: Int) throws {
        let address = try ListenAddress(parsing: text)
        #expect(address == ListenAddress(host: host, port: port))
        #expect(address.description == text)
    }

    @Test("Without a host it is every address", arguments: [":8443", "*:8443"])
    func everyAddress(text: String) throws {
        #expect(try ListenAddress(parsing: text).description == "[::]:8443")
    }

    @Test(
        "What is no address",
        arguments: ["", "8443", "localhost", "localhost:", "::1:80", "a:65536", "a:-1", "a b:1"])
    func noAddresses(text: String) {
        #expect(throws: ServerError.address(text)) { try ListenAddress(parsing: text) }
    }

    @Test(
        "A server with a route that has no row in the table of roles and routes does not start", .timeLimit(.minutes(1))
    )
    func missingRow() async throws {
        var routes = Routes(table: AccessTable([AccessTable.Row("GET", "/known", .authenticated)]))
        routes.get("/known") { _ in .text("") }
        var others = Routes(table: AccessTable([]))
        others.put("/unknown/:x") { _ in .text("") }
        others.on(nil, "/any/**") { _ in .text("") }
        routes.add(others)
        let server = HTTPServer(
            listeners: [Listener(address: ListenAddress(host: "127.0.0.1", port: 0), security: .plain)],
            routes: routes, authenticator: FixedUsers(), accessLog: nil, logger: Logger(label: "test")
        ) { _ in Issue.record("it listens") }
        await #expect(throws: ServerError.routes(["PUT /unknown/:x", "* /any/**"])) { try await server.run() }
    }

    @Test("Readiness tells which checks fail and nothing else", .timeLimit(.minutes(5)))
    func readiness() async throws {
        struct Broken: Error { let secret = "/data/store" }
        let routes = Routes.health([
            ReadinessCheck("store") { "full" }, ReadinessCheck("users") { throw Broken() }, ReadinessCheck("x") { nil },
        ])
        try await TestServer.run(routes) { server async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                let ready = try await client.request("GET", "/readyz")
                #expect(ready.status == 503)
                #expect(ready.text == #"{"checks":{"store":"full","users":"failed","x":"ok"},"status":"not ready"}"#)
                #expect(try await client.request("GET", "/healthz").text == "ok\n")
            }
            #expect(try await eventually { server.log.all.contains("/data/store") })
        }
    }

    @Test("A check that does not come back fails, and a server that is well says so", .timeLimit(.minutes(5)))
    func readinessTimes() async throws {
        let slow = Routes.health(
            [
                ReadinessCheck("slow") {
                    try await Task.sleep(for: .seconds(3600))
                    return nil
                }
            ], timeout: .milliseconds(50))
        try await TestServer.run(slow) { server async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                #expect(try await client.request("GET", "/readyz").status == 503)
            }
        }
        try await TestServer.run(Routes.health([ReadinessCheck("x") { nil }])) { server async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                let answer = try await client.request("GET", "/readyz")
                #expect(answer.status == 200 && answer.text.contains(#""ready""#))
            }
        }
    }
}
