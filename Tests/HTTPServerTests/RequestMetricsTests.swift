import Identity
import MetricsTestKit
import TestSupport
import Testing

@testable import HTTPServer

@Suite("Metrics of requests", .timeLimit(.minutes(5)))
struct RequestMetricsTests {
    @Test("count requests by route and status class, their bytes, and those under way; handles are made once")
    func requests() async throws {
        let metrics = TestMetrics()
        let isOpen = Count()
        var routes = Routes()
        routes.get("/things/:name", access: .authenticated) { .text($0.parameters["name"]) }
        routes.put("/things/:name", access: .authenticated) { request in
            .text("\(try await request.body(maximum: 1000).collect().count)")
        }
        routes.get("/wait", access: .open) { _ in
            _ = try await eventually { isOpen.value > 0 }
            return .text("")
        }
        try await TestServer.run(routes, metrics: metrics) { server async throws in
            let made = metrics.counters.count
            try await RawClient.with(port: server.plain) { client async throws in
                let known = ["Authorization": basic("pull", "secret")]
                for name in ["a", "b", "c"] {
                    #expect(try await client.request("GET", "/things/\(name)", known).status == 200)
                }
                #expect(try await client.request("PUT", "/things/a", known, body: [1, 2, 3]).status == 200)
                #expect(try await client.request("GET", "/things/a").status == 401)
                #expect(try await client.request("GET", "/nowhere", known).status == 404)
                func count(_ route: String, _ status: String) throws -> Int64 {
                    try metrics.expectCounter("http_requests", [("route", route), ("status", status)]).totalValue
                }
                #expect(try count("GET /things/:name", "2xx") == 3)
                #expect(try count("GET /things/:name", "4xx") == 1)
                #expect(try count("PUT /things/:name", "2xx") == 1)
                #expect(try count("none", "4xx") == 1)
                #expect(try count("GET /wait", "2xx") == 0)
                let timer = try metrics.expectTimer(
                    "http_request_duration", [("route", "GET /things/:name"), ("status", "2xx")])
                #expect(timer.values.count == 3 && timer.values.allSatisfy { $0 > 0 })
                #expect(try metrics.expectCounter("http_request_bytes").totalValue == 3)
                #expect(try metrics.expectCounter("http_response_bytes").totalValue > 4)
            }
            #expect(metrics.counters.count == made, "handles are made at the start")
            let inFlight = try metrics.expectMeter("http_requests_in_flight")
            try await RawClient.with(port: server.plain) { client async throws in
                async let answer = client.request("GET", "/wait")
                #expect(try await eventually { inFlight.lastValue == 1 })
                isOpen.add(1)
                #expect(try await answer.status == 200)
            }
            #expect(try await eventually { inFlight.lastValue == 0 })
        }
    }
}
