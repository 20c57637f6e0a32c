import Foundation
import JSON
import OCI
import TestSupport
import Testing

extension ServerTests {
    @Suite("OpenAPI", .serialized, .sideBySide)
    struct OpenAPITests {
        /// A request to a path of the document, and the status of its answer.
        private struct Call {
            let method: String
            let template: String
            var path: String
            let status: Int
            var body: [UInt8]?

            init(_ method: String, _ template: String, _ path: String, _ status: Int = 200, _ body: String? = nil) {
                (self.method, self.template, self.path, self.status) = (method, template, path, status)
                self.body = body.map { Array($0.utf8) }
            }

            var name: String { "\(method) \(template) \(status)" }
        }

        @Test("Every operation of the document does what it says, and each answer has the shape that it says")
        func live() async throws {
            try await World.with(["--stack", "tiny"]) { world in
                try await world.server.importTinyRootfs(version: "1")
                let droplet = Droplet("document")
                try await world.upload(droplet, guid: "app")
                // Any known user may read it.
                let document = try await world.client.get("/api/v1/openapi.json", as: "pull")
                try #require(document.status == 200 && document["Content-Type"] == "application/json")
                #expect(try await world.client.get("/api/v1/openapi.json", as: nil).status == 401)
                #expect(document.json["openapi"] == "3.1.0")
                let rootfs = try Data(contentsOf: URL(fileURLWithPath: try await Fixtures.tinyRootfs(version: "2")))
                var seen: Set<String> = []
                var last = ""
                for var call in Self.calls(droplet, rootfs: [UInt8](rootfs)) {
                    seen.insert(call.name)
                    call.path = call.path.replacing("LAST", with: last)
                    let answer = try await Self.check(call, document.json, world)
                    guard call.status == 202, let place = answer["Location"] else { continue }
                    last = String(place.split(separator: "/").last ?? "")
                    // What another call needs is done by then.
                    if !call.path.contains("rate=1") { _ = try await world.client.end(of: place) }
                }
                // ClusterTests has these: one answer never ends, the other is for agents alone.
                seen.formUnion(["GET /api/v1/events 200", "POST /api/v1/clusters/{cluster}/credential 200"])
                #expect(seen == Self.operations(document.json), "all of them, and no others")
            }
        }

        private static func calls(_ droplet: Droplet, rootfs: [UInt8]) -> [Call] {
            let (stack, version) = ("/api/v1/rootfs/{stack}", "/api/v1/rootfs/{stack}/{version}")
            let digest = "sha256:" + droplet.sha256
            var calls = [
                Call("PUT", version, "/api/v1/rootfs/tiny/2?shell=/bin/sh", 201),
                Call("GET", "/api/v1/rootfs", "/api/v1/rootfs"), Call("GET", stack, "/api/v1/rootfs/tiny"),
                Call("GET", stack + "/current", "/api/v1/rootfs/tiny/current"),
                Call("PUT", version + "/state", "/api/v1/rootfs/tiny/2/state", 200, #"{"state":"deprecated"}"#),
                Call("GET", version + "/packages", "/api/v1/rootfs/tiny/2/packages"),
                Call("GET", version + "/diff", "/api/v1/rootfs/tiny/2/diff?from=1"),
                Call("POST", version + "/delta", "/api/v1/rootfs/tiny/2/delta?from=1", 202),
                Call("GET", version + "/delta", "/api/v1/rootfs/tiny/2/delta?from=1"),
                Call("GET", version + "/delta", "/api/v1/rootfs/tiny/2/delta"),
                Call("GET", version + "/prepull", "/api/v1/rootfs/tiny/2/prepull"),
                Call("GET", version + "/export", "/api/v1/rootfs/tiny/2/export"),
                Call(
                    "PUT", stack + "/current", "/api/v1/rootfs/tiny/current", 200,
                    #"{"version":"2","reason":"new","expect":"1"}"#),
                Call("GET", version, "/api/v1/rootfs/tiny/2"),
                Call("POST", stack + "/rollback", "/api/v1/rootfs/tiny/rollback", 200, #"{"reason":"old"}"#),
                Call("GET", version, "/api/v1/rootfs/tiny/1"), Call("GET", version, "/api/v1/rootfs/tiny/2"),
                Call("DELETE", version, "/api/v1/rootfs/tiny/2?force=true", 204),
                Call("GET", "/api/v1/droplets", "/api/v1/droplets"),
                Call("GET", "/api/v1/droplets/{guid}", "/api/v1/droplets/app"),
                Call("GET", "/api/v1/droplets/{guid}/{hash}", "/api/v1/droplets/app/\(droplet.sha256)"),
                Call("GET", "/api/v1/gc", "/api/v1/gc"), Call("POST", "/api/v1/gc", "/api/v1/gc?dry-run=true", 202),
                Call("POST", "/api/v1/gc", "/api/v1/gc", 202), Call("GET", "/api/v1/gc", "/api/v1/gc"),
                Call("GET", "/api/v1/verify", "/api/v1/verify"), Call("POST", "/api/v1/verify", "/api/v1/verify", 202),
                Call("GET", "/api/v1/verify", "/api/v1/verify"),
                Call(
                    "POST", "/api/v1/pins/{cluster}", "/api/v1/pins/east", 204, #"{"digests":["\#(digest)"]}"#),
                Call("GET", "/api/v1/pins", "/api/v1/pins"),
                Call("GET", "/api/v1/pins/{cluster}", "/api/v1/pins/east"),
                Call("POST", "/api/v1/usage", "/api/v1/usage", 202), Call("GET", "/api/v1/usage", "/api/v1/usage"),
                // It goes on for long, to be cancelled.
                Call("POST", "/api/v1/verify", "/api/v1/verify?rate=1", 202),
                Call("GET", "/api/v1/operations", "/api/v1/operations"),
                Call("GET", "/api/v1/operations/{id}", "/api/v1/operations/LAST"),
                Call("POST", "/api/v1/operations/{id}/cancel", "/api/v1/operations/LAST/cancel", 202),
                Call("GET", "/api/v1/operations/{id}", "/api/v1/operations/LAST"),
                Call("GET", "/api/v1/overview", "/api/v1/overview"),
                Call("DELETE", "/api/v1/pins/{cluster}", "/api/v1/pins/east", 204),
                Call("PUT", "/api/v1/clusters/{cluster}", "/api/v1/clusters/east", 200, #"{"labels":{"zone":"1"}}"#),
                Call("GET", "/api/v1/clusters", "/api/v1/clusters"),
                Call(
                    "PUT", "/api/v1/clusters/{cluster}/state", "/api/v1/clusters/east/state", 204,
                    #"{"agent":"1","kubernetes":"1.36","problems":[],"unpinned":0}"#),
                Call("GET", "/api/v1/clusters/{cluster}", "/api/v1/clusters/east"),
                Call("DELETE", "/api/v1/clusters/{cluster}", "/api/v1/clusters/east", 204),
                Call("GET", "/api/v1/openapi.json", "/api/v1/openapi.json"),
            ]
            calls[0].body = rootfs
            return calls
        }

        /// `GET /api/v1/rootfs 200` for all that is told of, refusals excepted.
        private static func operations(_ document: JSONValue) -> Set<String> {
            var names: Set<String> = []
            for (template, methods) in document["paths"]?.object ?? [:] {
                for (method, operation) in methods.object ?? [:] {
                    for status in (operation["responses"]?.object ?? [:]).keys where status.hasPrefix("2") {
                        names.insert("\(method.uppercased()) \(template) \(status)")
                    }
                }
            }
            return names
        }

        private static func check(_ call: Call, _ document: JSONValue, _ world: World) async throws -> Answer {
            let check = SchemaCheck(components: document["components"]?["schemas"] ?? .null)
            let operation = document["paths"]?[call.template]?[call.method.lowercased()] ?? .null
            let sent = operation["requestBody"]?["content"]?["application/json"]?["schema"]
            if let sent, let body = call.body {
                #expect(try check.problems(JSONValue(parsing: body), sent) == [], "\(call.name): what is sent")
            }
            let path = call.path.split(separator: "?", maxSplits: 1)
            let queries = (path.count > 1 ? path[1] : "").split(separator: "&").compactMap {
                $0.split(separator: "=").first
            }
            let told = (operation["parameters"]?.array ?? []).compactMap { $0["name"]?.string }
            for query in queries { #expect(told.contains(String(query)), "\(call.name): \(query)") }

            let answer = try await world.client.send(call.method, call.path, as: "operator", body: call.body ?? [])
            try #require(answer.status == call.status, "\(call.name): \(answer.status) \(answer.text)")
            let content = operation["responses"]?[String(call.status)]?["content"]
            if let content {
                let type = try #require(answer["Content-Type"].flatMap { content[$0] }, "\(call.name)")
                if let schema = type["schema"] { #expect(check.problems(answer.json, schema) == [], "\(call.name)") }
            } else {
                #expect(answer.body.isEmpty, "\(call.name)")
            }
            guard call.template != "/api/v1/openapi.json" else { return answer }
            let refused = try await world.client.send(call.method, call.path, as: "pull", body: [])
            #expect(refused.status == 403)
            #expect(check.problems(refused.json, ["$ref": "#/components/schemas/Failure"]) == [], "\(call.name)")
            return answer
        }

        @Test("The checker finds what is wrong")
        func checker() throws {
            let check = SchemaCheck(components: ["Name": ["type": "string", "enum": ["a", "b"]]])
            let schema: JSONValue = [
                "type": "object", "required": ["name", "at"],
                "properties": [
                    "name": ["$ref": "#/components/schemas/Name"], "at": ["type": "string", "format": "date-time"],
                    "list": ["type": "array", "items": ["anyOf": [["type": "integer"], ["type": "null"]]]],
                ],
            ]
            let good: JSONValue = ["name": "a", "at": "2026-01-01T00:00:00Z", "list": [1, .null]]
            #expect(check.problems(good, schema) == [])
            for bad: JSONValue in [
                ["name": "c", "at": "2026-01-01T00:00:00Z"], ["name": "a"], ["name": "a", "at": "now"], [],
                ["name": "a", "at": "2026-01-01T00:00:00Z", "list": ["x"]],
                ["name": "a", "at": "2026-01-01T00:00:00Z", "other": 1],
                ["name": "a", "at": "2026-01-01T00:00:00Z", "list": [.number("1.5")]],
            ] {
                #expect(check.problems(bad, schema) != [], "\(bad)")
            }
        }
    }
}
