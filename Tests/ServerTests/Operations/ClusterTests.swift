import Foundation
import JSON
import TestSupport
import Testing

extension ServerTests {
    /// Clusters as operators add them and as their agents enrol, and what those hear who follow events.
    @Suite("Clusters and events", .serialized, .sideBySide)
    struct ClusterTests {
        private static func authorization(_ cluster: String, _ secret: String) -> [String: String] {
            ["Authorization": "Basic " + Data("cluster/\(cluster):\(secret)".utf8).base64EncodedString()]
        }

        private static func makeSecret() -> String {
            Data((0..<32).map { _ in UInt8.random(in: .min ... .max) }).base64EncodedString()
                .replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
        }

        private static func json(_ value: JSONValue) -> [UInt8] { Array(value.canonicalText.utf8) }

        /// As an agent does it. - Returns: its credential.
        private static func enrol(_ world: World, _ cluster: String) async throws -> String {
            let added = try await world.server.cistern(["cluster", "add", cluster, "--label", "zone=1"])
            try #require(added.status == 0, "\(added.errors)")
            let (secret, credential) = (added.output.trimmingCharacters(in: .newlines), makeSecret())
            let answer = try await world.client.send(
                "POST", "/api/v1/clusters/\(cluster)/credential", as: nil, authorization(cluster, secret),
                body: json(["credential": .string(credential)]))
            try #require(answer.status == 200 && answer.json["cluster"]?.string == cluster, "\(answer.text)")
            return credential
        }

        @Test("An agent enrols, reports, is listed and forgotten, and may do nothing else at any time")
        func agent() async throws {
            try await World.with { world in
                let client = world.client
                let added = try await world.server.cistern(["cluster", "add", "east"])
                let secret = added.output.trimmingCharacters(in: .newlines)
                #expect(!added.errors.contains(secret) && added.errors.contains("once"))
                let enrolling = Self.authorization("east", secret)
                // Whoever has an enrolment secret alone may only exchange it.
                for path in ["/api/v1/clusters/east", "/api/v1/pins/east", "/api/v1/overview"] {
                    #expect(try await client.get(path, as: nil, enrolling).status == 403, "\(path)")
                }
                let credential = Self.makeSecret()
                let wanted = Self.json(["credential": .string(credential)])
                for (user, status) in [("operator", 403), ("pull", 403)] {
                    let answer = try await client.send(
                        "POST", "/api/v1/clusters/east/credential", as: user, body: wanted)
                    #expect(answer.status == status)
                }
                let elsewhere = try await client.send(
                    "POST", "/api/v1/clusters/west/credential", as: nil, enrolling, body: wanted)
                #expect(elsewhere.status == 403)
                let enrolled = try await client.send(
                    "POST", "/api/v1/clusters/east/credential", as: nil, enrolling, body: wanted)
                #expect(enrolled.status == 200, "\(enrolled.text)")
                #expect(try await client.get("/api/v1/clusters/east", as: nil, enrolling).status == 401, "it is spent")

                let agent = Self.authorization("east", credential)
                let report: JSONValue = ["digests": [], "tags": ["app:latest"]]
                let reported = try await client.send(
                    "POST", "/api/v1/pins/east", as: nil, agent, body: Self.json(report))
                #expect(reported.status == 204, "\(reported.text)")
                let state: JSONValue = [
                    "agent": "1.2", "kubernetes": "1.36", "problems": ["the webhook does not answer"], "unpinned": 4,
                ]
                let said = try await client.send(
                    "PUT", "/api/v1/clusters/east/state", as: nil, agent, body: Self.json(state))
                #expect(said.status == 204, "\(said.text)")
                for (method, path) in [
                    ("GET", "/api/v1/clusters"), ("POST", "/api/v1/pins/west"), ("PUT", "/api/v1/clusters/west/state"),
                    ("PUT", "/api/v1/clusters/east"), ("DELETE", "/api/v1/clusters/east"), ("GET", "/api/v1/droplets"),
                    ("GET", "/api/v1/events"),
                ] {
                    let answer = try await client.send(method, path, as: nil, agent, body: Self.json(report))
                    #expect(answer.status == 403, "\(method) \(path)")
                }

                let shown = try await world.server.cistern(["cluster", "show", "east"])
                #expect(shown.output.contains("troubled") && shown.output.contains("the webhook does not answer"))
                let list = try await world.server.cistern(["cluster", "list"])
                #expect(list.output.contains(/east +troubled .* 1 +4 +1\.2/), "\(list.output)")
                #expect(try await world.server.cistern(["cluster", "forget", "east"]).status == 0)
                #expect(try await client.get("/api/v1/clusters/east", as: nil, agent).status == 401)
                let again = try await world.server.cistern(["cluster", "forget", "east"])
                #expect(again.status == 1 && again.errors.contains("there is no cluster east"), "\(again.errors)")
                #expect(!world.log.contains(secret) && !world.log.contains(credential))
            }
        }

        @Test("A credential outlives the server")
        func restart() async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                let credential = try await World.with(data: data) { try await Self.enrol($0, "east") }
                try await World.with(data: data) { world in
                    let answer = try await world.client.get(
                        "/api/v1/clusters/east", as: nil, Self.authorization("east", credential))
                    #expect(answer.status == 200 && answer.json["health"]?.string == "silent", "\(answer.text)")
                }
            }
        }

        @Test(
            "Who follows events hears of a promotion and of a cluster, goes on where the connection broke, and does not keep the server from ending"
        )
        func events() async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                var last = ""
                try await World.with(data: data, ["--stack", "tiny"]) { world in
                    let follower = try await Follower(world)
                    try await world.server.importTinyRootfs(version: "1")
                    _ = try await world.server.cistern(["cluster", "add", "east"])
                    let text = try await follower.wait(for: "event: cluster.added")
                    #expect(text.contains("event: rootfs.promoted\ndata: {\"by\":\"operator\""), "\(text)")
                    #expect(text.contains("\"stack\":\"tiny\",\"version\":\"1\"}\n\n"), "\(text)")
                    follower.connection.close()
                    let first = try #require(text.firstMatch(of: /id: (\S+)/)?.output.1)
                    let again = try await Follower(world, after: String(first))
                    let rest = try await again.wait(for: "event: cluster.added")
                    #expect(!rest.contains("rootfs.promoted") && !rest.contains("missed"))
                    last = String(try #require(rest.firstMatch(of: /id: (\S+)/)?.output.1))
                    // This one is still there when the server is asked to end.
                }
                try await World.with(data: data) { world in
                    let later = try await Follower(world, after: last)
                    _ = try await later.wait(for: "event: missed")
                }
            }
        }

        private final class Follower {
            let connection: RawConnection
            private var received: [UInt8] = []

            init(_ world: World, after id: String? = nil) async throws {
                connection = try await RawConnection(port: world.client.port)
                let head = world.client.head(
                    "GET", "/api/v1/events", as: "operator", id.map { ["Last-Event-ID": $0] } ?? [:])
                try await connection.send(Array(head.utf8))
                // Events before this moment are not told.
                _ = try await wait(for: ": cistern")
            }

            /// - Returns: all that came so far, the event with that text included.
            func wait(for text: String) async throws -> String {
                let deadline = ContinuousClock.now + .seconds(60)
                while true {
                    // By bytes: to Swift, a line break at a chunk's end is one character with what follows it.
                    if let found = received.firstRange(of: text.utf8),
                        received[found.upperBound...].firstRange(of: "\n\n".utf8) != nil
                    {
                        return String(decoding: received, as: UTF8.self)
                    }
                    try #require(ContinuousClock.now < deadline, "\(String(decoding: received, as: UTF8.self))")
                    let bytes = try await connection.receive()
                    try #require(!bytes.isEmpty, "the answer ended: \(String(decoding: received, as: UTF8.self))")
                    received += bytes
                }
            }
        }
    }
}
