import Foundation
import JSON
import OCI
import TestSupport
import Testing

extension ServerTests {
    @Suite("/api/v1/", .serialized, .sideBySide)
    struct OperatorRouteTests {
        /// `{"code","error","request"}`
        private static func expect(
            _ answer: Answer, _ status: Int, _ code: String, _ comment: Comment,
            location: SourceLocation = #_sourceLocation
        ) {
            #expect(answer.status == status, "\(comment): \(answer.text)", sourceLocation: location)
            #expect(answer.json["code"]?.string == code, "\(comment): \(answer.text)", sourceLocation: location)
            #expect(answer.json["error"]?.string?.isEmpty == false, comment, sourceLocation: location)
            #expect(answer.json["request"]?.string == answer["X-Request-Id"], comment, sourceLocation: location)
        }

        @Test("A rootfs that can't be taken is refused with the reason, and nothing of it stays")
        func refused() async throws {
            let rootfs = try [UInt8](
                Data(contentsOf: URL(fileURLWithPath: try await Fixtures.tinyRootfs(version: "1"))))
            let sum = Digest.of(rootfs).hex
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                let store = try await World.with(data: data) { $0.store }
                let objects = store.objects()
                try await World.with(data: data, ["--limits-droplet-bytes", "\(rootfs.count)"]) { world in
                    func put(_ path: String, _ body: [UInt8]) async throws -> Answer {
                        try await world.client.send("PUT", "/api/v1/rootfs/\(path)", as: "operator", body: body)
                    }
                    let shell = "shell=/bin/sh"
                    let other = String(repeating: "0", count: 64)
                    for (path, body, status, code) in [
                        ("a/1?\(shell)&sha256=\(other)", rootfs, 422, "checksum-mismatch"),
                        ("a/1?\(shell)&sha256=\(sum.dropLast())", rootfs, 400, "invalid-sha256"),
                        ("a/1", rootfs, 422, "unsuitable-rootfs"), ("a/1?shell=sh", rootfs, 400, "invalid-shell"),
                        ("a/1?shell=/bin/%2e%2e/sh", rootfs, 422, "unsuitable-rootfs"),
                        ("a/1?arch=arm64&\(shell)", rootfs, 422, "no-lifecycle"),
                        ("a/1?arch=pdp11&\(shell)", rootfs, 400, "invalid-name"),
                        ("%2e%2e/1?\(shell)", rootfs, 400, "invalid-name"),
                        ("a/%2e%2e?\(shell)", rootfs, 400, "invalid-name"),
                        ("a/b%2fc?\(shell)", rootfs, 400, "invalid-name"),
                        // A stack that would be new, and whose images no client could name.
                        ("Tiny/1?\(shell)", rootfs, 400, "invalid-name"),
                        ("a-/1?\(shell)", rootfs, 400, "invalid-name"),
                        ("a..b/1?kind=build", rootfs, 400, "invalid-name"),
                        ("a/\(String(repeating: "v", count: 64))?\(shell)", rootfs, 400, "invalid-name"),
                        ("a/1?\(shell)", Array("no archive".utf8), 422, "not-convertible"),
                        ("a/1?\(shell)", [], 422, "not-convertible"),
                        ("a/1?\(shell)", Array(rootfs.dropLast(100)), 422, "not-convertible"),
                        ("a/1?\(shell)", rootfs + [0], 413, "SIZE_INVALID"),
                    ] {
                        Self.expect(try await put(path, body), status, code, "\(path), \(body.count) bytes")
                    }
                    let list = try await world.client.get("/api/v1/rootfs", as: "operator")
                    #expect(list.json["versions"] == [])
                    #expect(world.store.unfinished() == [])
                    #expect(!world.log.contains(#""status":5"#), "no request failed inside")
                }
                #expect(store.objects() == objects)
            }
        }

        @Test("An import that breaks off leaves nothing, and can be done again")
        func interrupted() async throws {
            let rootfs = try [UInt8](
                Data(contentsOf: URL(fileURLWithPath: try await Fixtures.tinyRootfs(version: "1"))))
            try await World.with { world in
                let path = "/api/v1/rootfs/a/1?shell=/bin/sh&promote=true"
                for share in [0.1, 0.5, 0.99] {
                    let connection = try await RawConnection(port: world.client.port)
                    let head = world.client.head("PUT", path, as: "operator", ["Content-Length": String(rootfs.count)])
                    try await connection.send(Array(head.utf8) + rootfs.prefix(Int(Double(rootfs.count) * share)))
                    connection.reset()
                }
                try await waitUntil("the unfinished files to go") { world.store.unfinished() == [] }
                #expect(try await world.client.get("/api/v1/rootfs/a", as: "operator").status == 404)
                let answer = try await world.client.send("PUT", path, as: "operator", body: rootfs)
                #expect(answer.status == 201 && answer.json["current"] == true, "\(answer.text)")
            }
        }

        @Test("What is not there is 404, a malformed name 400, another method 405")
        func missing() async throws {
            try await World.with { world in
                for path in [
                    "rootfs/a", "rootfs/a/1", "rootfs/a/current", "droplets/a/" + String(repeating: "0", count: 64),
                    "droplets/a/latest",
                ] {
                    Self.expect(
                        try await world.client.get("/api/v1/" + path, as: "operator"), 404, "unknown", "\(path)")
                }
                for path in [
                    "rootfs/%2e%2e", "rootfs/a%00b", "rootfs/a/%20", "droplets/A", "droplets/%2e%2e",
                    "droplets/a%2fb/x",
                ] {
                    let answer = try await world.client.get("/api/v1/" + path, as: "operator")
                    #expect(answer.status == 400, "\(path): \(answer.text)")
                }
                for path in ["rootfs", "rootfs/a", "droplets", "droplets/a"] {
                    let answer = try await world.client.send("POST", "/api/v1/" + path, as: "operator", body: [])
                    #expect(answer.status == 405 && answer["Allow"] != nil, "\(path): \(answer.text)")
                }
                for after in [
                    "x", "../..", "%2e%2e%2f", "a/b/c", "%00", "%ff", "%zz", "~", String(repeating: "a", count: 5000),
                ] {
                    let answer = try await world.client.get("/api/v1/droplets?after=\(after)", as: "operator")
                    #expect([200, 400].contains(answer.status), "after=\(after): \(answer.text)")
                }
                #expect(!world.log.contains(#""status":5"#), "no request failed inside")
            }
        }
    }
}
