import NIOCore
import Synchronization
import Testing

@testable import HTTPServer
@testable import Identity

@Suite("Request rates of addresses", .timeLimit(.minutes(5)))
struct RequestRateTests {
    private final class Clock: Sendable {
        private let time = Mutex(NIODeadline.uptimeNanoseconds(1_000_000_000_000))
        var now: NIODeadline { time.withLock { $0 } }
        func advance(_ amount: TimeAmount) { time.withLock { $0 = $0 + amount } }
    }

    private struct TeapotErrors: ErrorEnvelope {
        func body(of failure: HTTPFailure, requestID: String) -> (contentType: String, bytes: [UInt8]) {
            ("text/plain", Array("teapot \(failure.code)".utf8))
        }
    }

    private static var routes: Routes {
        var routes = Routes(errors: TeapotErrors())
        routes.get("/v2/", access: .anonymous) { _ in .text("well") }
        routes.get("/healthz", access: .open) { _ in .text("ok") }
        return routes
    }

    @Test("A minute's requests may come at once; then it is 429 in the API's own words until Retry-After has passed")
    func limited() async throws {
        let clock = Clock()
        var limits = ServerLimits()
        limits.requestsOfAddress = 2
        try await TestServer.run(Self.routes, limits: limits, now: { clock.now }) { server async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                for _ in 0..<120 { #expect(try await client.request("GET", "/v2/").status == 200) }
                let answer = try await client.request("GET", "/v2/")
                #expect(answer.status == 429)
                #expect(answer["retry-after"] == "1")
                #expect(answer.text == "teapot TOOMANYREQUESTS")
                #expect(try await client.request("GET", "/nothing").status == 429, "what is not there counts too")
                for _ in 0..<10 { #expect(try await client.request("GET", "/healthz").status == 200) }
                clock.advance(.milliseconds(500))
                #expect(try await client.request("GET", "/v2/").status == 200)
                #expect(try await client.request("GET", "/v2/").status == 429)
                clock.advance(.seconds(60))
                for _ in 0..<120 { #expect(try await client.request("GET", "/v2/").status == 200) }
                #expect(try await client.request("GET", "/v2/").status == 429)
            }
        }
    }

    @Test("Without the setting nobody is counted")
    func unlimited() async throws {
        try await TestServer.run(Self.routes) { server async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                for _ in 0..<1000 { #expect(try await client.request("GET", "/v2/").status == 200) }
            }
        }
    }

    @Test("One address's flood is not another's; those of one /64 share")
    func addresses() throws {
        func address(_ text: String) throws -> ClientAddress {
            ClientAddress(try SocketAddress(ipAddress: text, port: 1))
        }
        let clock = Clock()
        let limiter = RequestLimiter(rate: 1, now: { clock.now })
        for number in 0..<60 { try limiter.take(try address("2001:db8::\(number)")) }
        #expect(throws: HTTPFailure.self) { try limiter.take(try address("2001:db8::ffff")) }
        try limiter.take(try address("2001:db8:0:1::1"))
        try limiter.take(try address("192.0.2.1"))
    }

    @Test("A cluster behind one address pulls at its rate for ever, and a rollout's burst on top of it comes through")
    func cluster() throws {
        let clock = Clock()
        let limiter = RequestLimiter(rate: 100, now: { clock.now })
        for _ in 0..<600 {
            for _ in 0..<90 { try limiter.take(.unknown) }
            clock.advance(.seconds(1))
        }
        for _ in 0..<6000 { try limiter.take(.unknown) }
        #expect(throws: HTTPFailure.self) { try limiter.take(.unknown) }
    }
}
