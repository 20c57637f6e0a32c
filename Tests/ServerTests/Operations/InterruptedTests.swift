import Foundation
import JSON
import TestSupport
import Testing

extension ServerTests {
    @Suite("Interrupted uploads", .serialized, .sideBySide)
    struct InterruptedTests {
        private static let droplet = Droplet("interrupted", noise: 700_000)

        @Test("However an upload breaks off, nothing is visible, no bytes stay and no descriptor leaks")
        func brokenOff() async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                let store = try await World.with(data: data, ["--stack", "tiny"]) { world in
                    try await world.server.importTinyRootfs()
                    try await world.upload(Droplet("whole"), guid: "whole")
                    return world.store
                }
                let objects = store.objects()
                try await World.with(data: data, ["--stack", "tiny"]) { world in
                    _ = try await world.client.get("/droplets/whole/\(Droplet("whole").sha256)", as: "operator")
                    let descriptors = world.descriptors
                    for share in [0.0, 0.001, 0.3, 0.999] {
                        for ending in Ending.allCases {
                            try await Self.breakOff(at: share, by: ending, world.client)
                        }
                    }
                    try await waitUntil("the unfinished files to go") { world.store.unfinished() == [] }
                    try await world.waitForDescriptors(descriptors)
                    try await Self.expectNothing(world.client)
                    #expect(!world.log.contains(#""status":5"#), "a client's fault is not the server's")
                }
                #expect(store.objects() == objects)
            }
        }

        enum Ending: CaseIterable {
            /// The client goes away, politely or not.
            case closed, reset
            /// The client says that it is done, too early.
            case halfClosed
            /// As above, with another framing.
            case chunkedClosed, chunkedReset, chunkedHalfClosed, chunkedMalformed
            case formClosed, formReset
        }

        private static func breakOff(at share: Double, by ending: Ending, _ client: Client) async throws {
            var body = droplet.bytes
            var headers = ["Content-Length": String(body.count)]
            switch ending {
            case .closed, .reset, .halfClosed: break
            case .chunkedClosed, .chunkedReset, .chunkedHalfClosed, .chunkedMalformed:
                headers = ["Transfer-Encoding": "chunked"]
                body = Array("\(String(body.count, radix: 16))\r\n".utf8) + body + Array("\r\n0\r\n\r\n".utf8)
            case .formClosed, .formReset:
                body = Multipart([("droplet", body)]).body
                headers = Multipart.contentType.merging(["Content-Length": String(body.count)]) { $1 }
            }
            let connection = try await RawConnection(port: client.port)
            defer { connection.close() }
            let path = "/droplets/interrupted/\(droplet.sha256)"
            try await connection.send(client.head("PUT", path, as: "operator", headers))
            try await connection.send(Array(body.prefix(Int(Double(body.count) * share))))
            switch ending {
            case .closed, .chunkedClosed, .formClosed: connection.close()
            case .reset, .chunkedReset, .formReset: connection.reset()
            case .halfClosed, .chunkedHalfClosed:
                connection.finishSending()
                try await expectRefusal(connection, "\(share) \(ending)")
            case .chunkedMalformed:
                try await connection.send(share == 0 ? "xyz\r\n" : String(repeating: "x", count: 800_000))
                try await expectRefusal(connection, "\(share) \(ending)")
            }
        }

        /// An answer that is no success, or none.
        private static func expectRefusal(_ connection: RawConnection, _ comment: Comment) async throws {
            do {
                let answer = try await Answer(from: connection)
                #expect([400, 422].contains(answer.status), "\(comment): \(answer.text)")
            } catch AnswerError.cut, RawConnection.Failure.closed {
                // The connection is over: as good.
            }
        }

        private static func expectNothing(_ client: Client) async throws {
            for hash in [droplet.sha256, droplet.sha1] {
                #expect(try await client.get("/droplets/interrupted/\(hash)", as: "operator").status == 404)
                #expect(try await client.get("/v2/cloudfoundry/interrupted/manifests/\(hash)").status == 404)
            }
            #expect(try await client.get("/v2/cloudfoundry/interrupted/tags/list").status == 404)
            let list = try await client.get("/api/v1/droplets", as: "operator")
            #expect(list.json["droplets"]?.array?.count == 1)
        }

        @Test("Over TLS too: a client that is killed leaves nothing")
        func killedClient() async throws {
            try await World.with { world in
                try await withTemporaryDirectory { directory in
                    let file = directory + "/droplet"
                    try Data(Self.droplet.bytes).write(to: URL(fileURLWithPath: file))
                    let credentials = directory + "/curl"
                    let user = "user = \"operator:\(try world.server.password(of: .operator))\""
                    try Data(user.utf8).write(to: URL(fileURLWithPath: credentials))
                    let warm = Droplet("warm")
                    try await world.upload(warm, guid: "warm")
                    let descriptors = world.descriptors
                    let curl = try ChildProcess(
                        "curl",
                        [
                            "--silent", "--config", credentials, "--cacert", world.server.certificateAuthority,
                            "--limit-rate",
                            "20k", "--upload-file", file,
                            "\(world.server.url)/droplets/interrupted/\(Self.droplet.sha256)",
                        ], log: directory + "/log")
                    try await waitUntil("the upload to begin") { world.store.unfinished() != [] }
                    #expect(
                        try await world.client.get("/api/v1/droplets", as: "operator").json["droplets"]?.array?.count
                            == 1)
                    curl.killGroup()
                    try await waitUntil("the unfinished files to go") { world.store.unfinished() == [] }
                    try await world.waitForDescriptors(descriptors)
                    let path = "/droplets/interrupted/\(Self.droplet.sha256)"
                    #expect(try await world.client.get(path, as: "operator").status == 404)
                }
            }
        }

        @Test("What comes behind the announced length is not part of the droplet")
        func tooMuch() async throws {
            try await World.with(["--stack", "tiny"]) { world in
                let droplet = Droplet("too much")
                let connection = try await RawConnection(port: world.client.port)
                let path = "/droplets/more/\(droplet.sha256)"
                let head = world.client.head(
                    "PUT", path, as: "operator", ["Content-Length": String(droplet.bytes.count)])
                try await connection.send(
                    Array(head.utf8) + droplet.bytes + Array("GET /more HTTP/1.1\r\nHost: a\r\n\r\n garbage".utf8))
                let answer = try await Answer(from: connection)
                connection.close()
                #expect(answer.status == 201, "\(answer.text)")
                #expect(try await world.client.get(path, as: "operator").body == droplet.bytes)

                // One byte less than the droplet has: its end is then the next request's beginning.
                let short = try await RawConnection(port: world.client.port)
                defer { short.close() }
                let other = Droplet("one less")
                let less = world.client.head(
                    "PUT", "/droplets/less/\(other.sha256)", as: "operator",
                    ["Content-Length": String(other.bytes.count - 1)])
                try await short.send(Array(less.utf8) + other.bytes)
                #expect([400, 422].contains(try await Answer(from: short).status))
                #expect(try await world.client.get("/droplets/less/\(other.sha256)", as: "operator").status == 404)
            }
        }
    }

    @Suite("Expect: 100-continue", .serialized, .sharedServer)
    struct ContinueTests {
        /// Sends a request's head and gives what comes before any of the body was sent.
        private static func begin(
            _ path: String, as user: String?, length: Int, _ client: Client
        ) async throws -> (RawConnection, String) {
            let connection = try await RawConnection(port: client.port)
            let headers = ["Content-Length": String(length), "Expect": "100-continue"]
            try await connection.send(client.head("PUT", path, as: user, headers))
            return (connection, String(decoding: try await connection.receive(), as: UTF8.self))
        }

        @Test("The client is asked for the body, sends it and gets its answer")
        func asked() async throws {
            let client = try SharedServer.world().client
            let droplet = Droplet("continue", noise: 100_000)
            let path = "/droplets/continue/\(droplet.sha256)"
            let (connection, first) = try await Self.begin(path, as: "operator", length: droplet.bytes.count, client)
            defer { connection.close() }
            #expect(first == "HTTP/1.1 100 Continue\r\n\r\n")
            try await connection.send(droplet.bytes)
            #expect(try await Answer(from: connection).status == 201)
            #expect(try await client.get(path, as: "operator").body == droplet.bytes)
        }

        @Test(
            "Who is refused anyway is not asked for it",
            arguments: [
                (nil, Droplet("x").sha256, 1000, 401), ("pull", Droplet("x").sha256, 1000, 403),
                ("operator", "latest", 1000, 400),
                ("operator", Droplet("x").sha256, 1 << 40, 413),
            ] as [(String?, String, Int, Int)])
        func notAsked(user: String?, hash: String, length: Int, status: Int) async throws {
            let client = try SharedServer.world().client
            let (connection, first) = try await Self.begin("/droplets/not/\(hash)", as: user, length: length, client)
            defer { connection.close() }
            #expect(first.hasPrefix("HTTP/1.1 \(status) "))
        }
    }
}
