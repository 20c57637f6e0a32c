import Foundation
import JSON
import OCI
import TestSupport
import Testing

extension ServerTests {
    /// Each of these once took a server of one GiB down, or the memory of the whole machine. The server has its standard
    /// settings but for the budget, which is what they give in a control group of 1 GiB; where there is no such group
    /// (writing to the machine's is not a test's to do) the bound is checked instead of the system's killer awaited.
    @Suite("Many who each stay within their limits", .serialized, .sideBySide)
    struct MemoryTests {
        /// Of requests, in MiB: half of 1 GiB.
        private static let budget = 512
        private static let arguments = ["--limits-memory-bytes", String(budget << 20)]
        /// Shares of it (`Budget.memory`): strangers', users', documents' and archives', in MiB.
        private static let (strangers, users, documents, archives) = (96, 128, 96, 128)
        /// What the process takes besides while it is busy: allocator, tables of connections, tasks, in MiB.
        private static let besides = 96

        /// A server that has answered each kind of request before, and users who may push and stage.
        private static func with(
            _ arguments: [String] = arguments, _ body: (World, _ before: Int) async throws -> Void
        ) async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                try await World.with(data: data) { _ in }
                try await World.add(["pusher": "roles: [push]", "stager": "roles: [stage]"], to: data)
                try await World.with(data: data, arguments) { world in
                    let pushed = try await world.client.send(
                        "POST", "/v2/team/app/blobs/uploads/?digest=\(Digest.of(content))", as: "pusher",
                        ["Content-Type": "application/octet-stream"], body: content)
                    #expect(pushed.status == 201)
                    try await expectServed(world)
                    try await body(world, try world.memory("VmRSS"))
                }
            }
        }

        private static let content = makeNoise(300_000, seed: "memory")

        /// A probe, a pull and an operator.
        private static func expectServed(_ world: World) async throws {
            #expect(try await world.client.get("/healthz", as: nil).status == 200)
            let pulled = try await world.client.get("/v2/team/app/blobs/\(Digest.of(content))")
            #expect(pulled.status == 200 && pulled.body == content)
            #expect(try await world.client.get("/api/v1/overview", as: "operator").status == 200)
        }

        /// - Parameter share: of the budget, in MiB.
        private static func expectGrowth(_ world: World, from before: Int, within share: Int) async throws {
            let peak = try world.memory("VmHWM")
            print("\(Test.current?.name ?? ""): from \(before) to \(peak) MiB at the peak")
            #expect(peak - before < share + besides)
        }

        private static func expectGivenBack(_ world: World, from before: Int) async throws {
            try await waitUntil("the memory to be given back") {
                try world.memory("VmRSS") - before < 48
            }
            try await expectServed(world)
        }

        /// A document of any bytes, larger than anybody else has room for.
        private static func documentStatus(_ world: World, as user: String) async throws -> Int {
            try await world.client.send(
                "PUT", "/v2/team/app/manifests/large", as: user,
                ["Content-Type": "application/vnd.oci.image.manifest.v1+json"],
                body: [UInt8](repeating: 0x20, count: 3 << 20)
            ).status
        }

        @Test("Strangers and users who have taken all that is theirs leave operators their memory")
        func operators() async throws {
            // The smallest that there is: of users 16 MiB, of documents 12.
            try await Self.with(["--limits-memory-bytes", String(64 << 20)]) { world, before in
                let port = world.client.port
                let rest = "GET / HTTP/1.1\r\nX: " + String(repeating: "x", count: 14_000)
                let field = "\r\nX: " + String(repeating: "x", count: 14_000)
                let heads = rest + field + field + field
                let known = world.client.head("GET", "/v2/", as: "pusher", [:])
                    .replacing("Connection: close\r\n", with: "")
                let document = world.client.head(
                    "PUT", "/v2/team/app/manifests/1", as: "pusher",
                    ["Content-Length": String(4 << 20), "Content-Type": "application/vnd.oci.image.manifest.v1+json"])
                let documents = Array(document.utf8) + [UInt8](repeating: 0x20, count: 4 << 20 - 1)
                let crowds = [
                    try await Crowd(port: port, count: 10, addresses: 1, sending: documents),
                    try await Crowd(port: port, count: 300, addresses: 2, sending: Array((known + heads).utf8)),
                    try await Crowd(port: port, count: 300, addresses: 2, sending: Array(heads.utf8)),
                ]
                // What the crowds have sent lies in the system's buffers until the server comes to it.
                try await waitUntil("the server to have read it") {
                    try await Self.documentStatus(world, as: "pusher") == 503
                }
                #expect(try await Self.documentStatus(world, as: "operator") == 400)
                try await world.server.importTinyRootfs()
                for path in ["/api/v1/overview", "/api/v1/openapi.json"] {
                    #expect(try await world.client.get(path, as: "operator").status == 200)
                }
                try await Self.expectGrowth(world, from: before, within: 64)
                withExtendedLifetime(crowds) {}
            }
        }

        private static func hold(_ crowd: Crowd, _ body: (Crowd) async throws -> Void) async throws {
            try await body(crowd)
            withExtendedLifetime(crowd) {}
        }

        @Test("10,000 strangers' heads of 60 KB that do not end, of ten addresses")
        func heads() async throws {
            try await Self.with { world, before in
                let field = "X: " + String(repeating: "x", count: 10_000) + "\r\n"
                let head = Array(("GET / HTTP/1.1\r\n" + String(repeating: field, count: 6)).utf8)
                try await Self.hold(Crowd(port: world.client.port, count: 10_000, addresses: 10, sending: head)) { _ in
                    try await Self.expectServed(world)
                    try await Self.expectGrowth(world, from: before, within: Self.strangers)
                }
                try await Self.expectGivenBack(world, from: before)
            }
        }

        @Test("Strangers' pipelined requests are read one after the other, not parsed all at once")
        func pipelined() async throws {
            let budget = 64
            try await Self.with(["--limits-memory-bytes", String(budget << 20)]) { world, before in
                let requests = Array(String(repeating: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", count: 3000).utf8)
                try await Self.hold(Crowd(port: world.client.port, count: 500, addresses: 10, sending: requests)) { _ in
                    try await Self.expectServed(world)
                    try await Self.expectGrowth(world, from: before, within: budget)
                }
                try await Self.expectGivenBack(world, from: before)
            }
        }

        @Test("8,000 strangers' connections that have begun a handshake: they make room for others")
        func connections() async throws {
            try await Self.with { world, before in
                let port = try #require(world.server.address.split(separator: ":").last.flatMap { Int($0) })
                try await Self.hold(
                    Crowd(port: port, count: 8000, addresses: 10, sending: ClientHello.bytes)
                ) { crowd in
                    #expect(try await world.server.request("GET", "/v2/").status == 200)
                    try await Self.expectServed(world)
                    try await Self.expectGrowth(world, from: before, within: Self.strangers)
                }
                try await Self.expectGivenBack(world, from: before)
            }
        }

        @Test("1,000 manifests of 4 MiB that a user has under way; who finds no room is told 503")
        func manifests() async throws {
            try await Self.with { world, before in
                let head = world.client.head(
                    "PUT", "/v2/team/app/manifests/1", as: "pusher",
                    ["Content-Length": String(4 << 20), "Content-Type": "application/vnd.oci.image.manifest.v1+json"])
                // All but the last byte.
                let request = Array(head.utf8) + [UInt8](repeating: 0x20, count: 4 << 20 - 1)
                try await Self.hold(Crowd(port: world.client.port, count: 1000, addresses: 1, sending: request)) { _ in
                    try await Self.expectServed(world)
                    try await Self.expectGrowth(world, from: before, within: Self.users + Self.documents)
                    try await waitUntil("somebody to be told") { world.log.contains(#""status":503"#) }
                }
                try await Self.expectGivenBack(world, from: before)
            }
        }

        @Test("20 hostile archives at once, each of which names 15,000 directories")
        func archives() async throws {
            try await Self.with { world, before in
                let archive = HostileArchive.bytes
                let head = world.client.head(
                    "PUT", "/droplets/hostile/\(String(repeating: "0", count: 64))", as: "stager",
                    ["Content-Length": String(archive.count + 1)])
                // All but the last byte: what was remembered of them stays.
                let request = Array(head.utf8) + archive
                try await Self.hold(Crowd(port: world.client.port, count: 20, addresses: 2, sending: request)) { _ in
                    try await waitUntil("somebody to be told") { world.log.contains(#""status":503"#) }
                    try await Self.expectServed(world)
                    try await Self.expectGrowth(world, from: before, within: Self.archives)
                    // Operators have memory of their own.
                    try await world.server.importTinyRootfs()
                }
                try await Self.expectGivenBack(world, from: before)
                let droplet = Droplet("after them")
                let answer = try await world.client.send(
                    "PUT", "/droplets/good/\(droplet.sha256)?stack=tiny", as: "stager", body: droplet.bytes)
                #expect(answer.status == 201, "\(answer.text)")
            }
        }
    }
}

/// What a TLS 1.3 client begins with (RFC 8446, section 4.1.2), always the same.
private enum ClientHello {
    static let bytes: [UInt8] = {
        let random = [UInt8](repeating: 7, count: 32)
        let share: [UInt8] = [9] + [UInt8](repeating: 0, count: 31)
        // supported_versions, supported_groups (x25519), signature_algorithms, key_share.
        var extensions: [UInt8] = [0, 43, 0, 3, 2, 3, 4, 0, 10, 0, 4, 0, 2, 0, 29]
        extensions += [0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 4, 1, 0, 51, 0, 38, 0, 36, 0, 29, 0, 32] + share
        var body: [UInt8] = [3, 3] + random + [0, 0, 2, 0x13, 1, 1, 0]
        body += [0, UInt8(extensions.count)] + extensions
        let message: [UInt8] = [1, 0, 0, UInt8(body.count)] + body
        return [22, 3, 1, 0, UInt8(message.count)] + message
    }()
}

/// A droplet of half a megabyte: its few entries lie so deep that they name 15,000 directories, of 2 KB each.
private enum HostileArchive {
    static let bytes: [UInt8] = {
        var bytes: [UInt8] = []
        for index in 0..<8 {
            let name = "\(index)" + String(repeating: "/d", count: 1900) + "/x"
            let record = "\(name.utf8.count + 11) path=\(name)\n"
            bytes += TestTar.entry("pax", type: "x", Array(record.utf8))
            bytes += TestTar.entry("x", type: "0")
        }
        // The server looks at a window of 256 KiB at a time.
        return bytes + TestTar.entry("content", type: "0", [UInt8](repeating: 0, count: 512 << 10))
    }()
}
