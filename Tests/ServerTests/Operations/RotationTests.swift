import Foundation
import JSON
import OCI
import TestSupport
import Testing

extension ServerTests {
    @Suite("Rotating a rootfs", .serialized, .sideBySide)
    struct RotationTests {
        private static func put(
            _ world: World, _ path: String, _ body: String, _ headers: [String: String] = [:]
        ) async throws -> Answer {
            try await world.client.send(
                "PUT", "/api/v1/rootfs/" + path, as: "operator", headers, body: Array(body.utf8))
        }

        private static func rollBack(_ world: World, _ body: String = "") async throws -> Answer {
            try await world.client.send(
                "POST", "/api/v1/rootfs/tiny/rollback", as: "operator", body: Array(body.utf8))
        }

        private static func current(_ world: World) async throws -> JSONValue {
            try await world.client.get("/api/v1/rootfs/tiny/current", as: "operator").json
        }

        @Test("Deprecated warns, blocked refuses, and both say why; what is current can't be blocked")
        func states() async throws {
            try await World.with(["--stack", "tiny"]) { world in
                for version in ["1", "2"] {
                    try await world.server.importTinyRootfs(version: version, promote: version == "1")
                }
                let state = try await Self.put(world, "tiny/2/state", #"{"state":"blocked","reason":"CVE-1"}"#)
                #expect(state.status == 200 && state.json["by"] == "operator" && state.json["reason"] == "CVE-1")
                let refused = try await Self.put(world, "tiny/current", #"{"version":"2"}"#)
                #expect(refused.status == 409 && refused.json["code"] == "blocked")
                #expect(refused.json["error"]?.string?.contains("CVE-1") == true, "\(refused.text)")
                let current = try await Self.put(world, "tiny/1/state", #"{"state":"blocked"}"#)
                #expect(current.status == 409 && current.json["code"] == "in-use", "\(current.text)")
                #expect(current.json["error"]?.string?.contains("promote another") == true)

                _ = try await Self.put(world, "tiny/2/state", #"{"state":"deprecated","reason":"old"}"#)
                let promoted = try await Self.put(world, "tiny/current", #"{"version":"2"}"#)
                #expect(promoted.status == 200 && promoted.json["warnings"] == ["tiny 2 is deprecated: old"])
                let list = try await world.client.get("/api/v1/rootfs", as: "operator").json["versions"]?.array ?? []
                #expect(Set(list.compactMap { $0["state"]?.string }) == ["available", "deprecated"])
                for body in [
                    "{}", #"{"state":"gone"}"#, "[]",
                    #"{"state":"blocked","reason":"\#(String(repeating: "x", count: 1001))"}"#,
                ] {
                    #expect(try await Self.put(world, "tiny/2/state", body).status == 400, "\(body.prefix(40))")
                }
                #expect(try await Self.put(world, "tiny/3/state", #"{"state":"blocked"}"#).status == 404)
            }
        }

        @Test("Who expects something else to be current is refused and told who promoted what meanwhile")
        func expecting() async throws {
            try await World.with(["--stack", "tiny"]) { world in
                for version in ["1", "2"] {
                    try await world.server.importTinyRootfs(version: version, promote: version == "1")
                }
                let seen = try await world.client.get("/api/v1/rootfs/tiny/current", as: "operator")
                let tag = try #require(seen["ETag"])
                let first = try await Self.put(
                    world, "tiny/current", #"{"version":"2","reason":"mine","expect":"1"}"#)
                #expect(first.status == 200 && first["ETag"] != tag)
                let late = try await Self.put(world, "tiny/current", #"{"version":"1","expect":"1"}"#)
                #expect(late.status == 409 && late.json["code"] == "promoted-meanwhile")
                let said = late.json["error"]?.string ?? ""
                #expect(said.contains("on 2") && said.contains("operator promoted") && said.contains("mine"), "\(said)")
                let matched = try await Self.put(world, "tiny/current", #"{"version":"1"}"#, ["If-Match": tag])
                #expect(matched.status == 412 && matched.json["error"]?.string == said)
                let both = try await Self.put(
                    world, "tiny/current", #"{"version":"1","expect":"1"}"#, ["If-Match": first["ETag"] ?? ""])
                #expect(both.status == 400)
                #expect(try await Self.rollBack(world, #"{"expect":"1"}"#).status == 409)
                let now = try #require(first["ETag"])
                let again = try await Self.put(world, "tiny/current", #"{"version":"1"}"#, ["If-Match": now])
                #expect(again.status == 200 && again.json["version"] == "1")
            }
        }

        @Test("Rolling back leads to what was before, then further back, and is 409 where nothing is")
        func rollback() async throws {
            try await World.with(["--stack", "tiny"]) { world in
                #expect(try await Self.rollBack(world).status == 404)
                for version in ["1", "2", "3"] { try await world.server.importTinyRootfs(version: version) }
                #expect(try await Self.current(world)["rollback"] == "2")
                let back = try await Self.rollBack(world, #"{"reason":"it broke"}"#)
                #expect(back.status == 200 && back.json["version"] == "2" && back.json["rollback"] == "1")
                let first = back.json["history"]?.array?.first
                #expect(first?["kind"] == "rollback" && first?["by"] == "operator" && first?["reason"] == "it broke")
                #expect(try await Self.rollBack(world).json["version"] == "1")
                let none = try await Self.rollBack(world)
                #expect(none.status == 409 && none.json["code"] == "nothing-before", "\(none.text)")
                #expect(try await Self.rollBack(world, "[]").status == 400)
                #expect(try await Self.current(world)["version"] == "1")
            }
        }

        @Test("Promoting and going back under load loses no pull, and the first pull after an answer sees it")
        func load() async throws {
            try await World.with(["--stack", "tiny"]) { world in
                for version in ["1", "2"] {
                    try await world.server.importTinyRootfs(version: version, promote: version == "1")
                }
                let droplet = Droplet("load")
                try await world.upload(droplet, guid: "app")
                var known: [String: String] = [:]
                for version in ["1", "2"] {
                    known[version] = try await Image(
                        "\(droplet.sha256)-\(version)", of: "cloudfoundry/app", from: world.client
                    ).digest
                }
                let digests = Set(known.values)
                let path = "/v2/cloudfoundry/app/manifests/\(droplet.sha256)"
                let (rounds, pulls) = (Counter(), Counter())
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<16 {
                        group.addTask {
                            while rounds.value < 60, !Task.isCancelled {
                                let answer = try await world.client.get(path)
                                try #require(answer.status == 200, "\(answer.text)")
                                #expect(digests.contains(Digest.of(answer.body).description))
                                pulls.add()
                            }
                        }
                    }
                    group.addTask { [known] in
                        for round in 0..<60 {
                            let isBack = !round.isMultiple(of: 2)
                            let answer =
                                isBack
                                ? try await Self.rollBack(world)
                                : try await Self.put(world, "tiny/current", #"{"version":"2"}"#)
                            try #require(answer.status == 200, "\(round): \(answer.text)")
                            let pulled = try await world.client.get(path)
                            #expect(pulled["Docker-Content-Digest"] == known[isBack ? "1" : "2"], "round \(round)")
                            rounds.add()
                        }
                    }
                    try await group.waitForAll()
                }
                #expect(pulls.value >= 100, "the pulls ran beside")
                #expect(try await Self.current(world)["history"]?.array?.count == 61)
            }
        }

        @Test("Pinned tags and digests mean the same through three rotations and a restart")
        func pinned() async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                let droplet = Droplet("pinned")
                var digests: [String: String] = [:]
                for start in 0..<2 {
                    digests = try await World.with(data: data, ["--stack", "tiny"]) { [digests] world in
                        var known = digests
                        if start == 0 {
                            try await world.server.importTinyRootfs(version: "1")
                            try await world.upload(droplet, guid: "app")
                        }
                        for version in ["1", "2", "3", "1"] {
                            if start == 0, version != "1" { try await world.server.importTinyRootfs(version: version) }
                            _ = try await Self.put(world, "tiny/current", #"{"version":"\#(version)"}"#)
                            let image = try await Image(droplet.sha256, of: "cloudfoundry/app", from: world.client)
                            #expect(known[version] == nil || known[version] == image.digest)
                            known[version] = image.digest
                            for (version, digest) in known {
                                for reference in ["\(droplet.sha256)-\(version)", digest] {
                                    let again = try await Image(
                                        reference, of: "cloudfoundry/app", from: world.client)
                                    #expect(again.digest == digest, "\(reference)")
                                }
                            }
                        }
                        return known
                    }
                }
                #expect(Set(digests.values).count == 3)
            }
        }
    }
}
