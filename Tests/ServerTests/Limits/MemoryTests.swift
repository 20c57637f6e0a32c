import Foundation
import JSON
import TestSupport
import Testing

extension ServerTests {
    /// What requests may hold is 64 MiB here, and the process takes some besides.
    @Suite("Many who each stay within their limits", .serialized, .sideBySide)
    struct MemoryTests {
        private static let arguments = ["--limits-memory-bytes", String(64 << 20)]
        /// What the process may grow by, in MiB.
        private static let growth = 64

        /// A server that has answered each kind of request before, and users of whom one may push.
        private static func with(_ body: (World, Int) async throws -> Void) async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                try await World.with(data: data) { _ in }
                try await World.add(["pusher": "roles: [push]"], to: data)
                try await World.with(data: data, arguments) { world in
                    try await expectServed(world)
                    try await body(world, try world.memory("VmRSS"))
                }
            }
        }

        private static func expectServed(_ world: World) async throws {
            #expect(try await world.client.get("/healthz", as: nil).status == 200)
            #expect(try await world.client.get("/v2/", as: "pull").status == 200)
            #expect(try await world.client.get("/api/v1/overview", as: "operator").status == 200)
        }

        private static func expectGrowth(_ world: World, from before: Int) async throws {
            #expect(try world.memory("VmHWM") - before < growth)
        }

        private static func expectGivenBack(_ world: World, from before: Int) async throws {
            try await waitUntil("the memory to be given back", within: .seconds(30)) {
                try world.memory("VmRSS") - before < 32
            }
            try await expectServed(world)
        }

        @Test("Strangers' heads that do not end, of ten addresses, are bounded together, and others are served")
        func heads() async throws {
            try await Self.with { world, before in
                let field = "X: " + String(repeating: "x", count: 10_000) + "\r\n"
                let head = Array(("GET / HTTP/1.1\r\n" + String(repeating: field, count: 6)).utf8)
                // Without a bound these took 150 MB and more.
                try await Self.hold(Crowd(port: world.client.port, count: 1500, addresses: 10, sending: head)) { _ in
                    try await Self.expectServed(world)
                    try await Self.expectGrowth(world, from: before)
                }
                try await Self.expectGivenBack(world, from: before)
            }
        }

        @Test("Strangers' pipelined requests are bounded together")
        func pipelined() async throws {
            try await Self.with { world, before in
                let requests = Array(String(repeating: "GET / HTTP/1.1\r\n\r\n", count: 3000).utf8)
                try await Self.hold(Crowd(port: world.client.port, count: 500, addresses: 10, sending: requests)) { _ in
                    try await Self.expectServed(world)
                    try await Self.expectGrowth(world, from: before)
                }
                try await Self.expectGivenBack(world, from: before)
            }
        }

        @Test("Strangers' idle connections with TLS make room for others")
        func connections() async throws {
            try await Self.with { world, before in
                let port = try #require(world.server.address.split(separator: ":").last.flatMap { Int($0) })
                try await Self.hold(Crowd(port: port, count: 1500, addresses: 10, sending: [])) { crowd in
                    try await waitUntil("some to make room") { crowd.open < 1000 }
                    #expect(try await world.server.request("GET", "/v2/").status == 200)
                    try await Self.expectServed(world)
                    try await Self.expectGrowth(world, from: before)
                }
            }
        }

        @Test("A user's manifests under way are bounded together; who finds no room is told 503, and others are served")
        func manifests() async throws {
            try await Self.with { world, before in
                let head = world.client.head(
                    "PUT", "/v2/team/app/manifests/1", as: "pusher",
                    ["Content-Length": String(4 << 20), "Content-Type": "application/vnd.oci.image.manifest.v1+json"])
                // All but the last byte. Without a bound these take 160 MB.
                let request = Array(head.utf8) + [UInt8](repeating: 0x20, count: 4 << 20 - 1)
                try await Self.hold(Crowd(port: world.client.port, count: 40, addresses: 1, sending: request)) { _ in
                    try await Self.expectServed(world)
                    try await Self.expectGrowth(world, from: before)
                    try await waitUntil("somebody to be told") { world.log.contains(#""status":503"#) }
                }
                try await Self.expectGivenBack(world, from: before)
            }
        }

        private static func hold(_ crowd: Crowd, _ body: (Crowd) async throws -> Void) async throws {
            try await body(crowd)
            withExtendedLifetime(crowd) {}
        }
    }
}
