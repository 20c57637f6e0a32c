import Foundation
import JSON
import TestSupport
import Testing

extension ServerTests {
    @Suite("Deltas of rootfs versions", .serialized, .sideBySide)
    struct DeltaTests {
        private static let path = "/api/v1/rootfs/tiny/2/delta"

        @Test("The command computes one and says what it saves; asked again, it is there")
        func command() async throws {
            try await World.with(["--stack", "tiny", "--gc-grace-seconds", "1"]) { world in
                try await world.server.importTinyRootfs(version: "1")
                try await world.server.importTinyRootfs(version: "2", promote: false)
                let missing = try await world.client.get(Self.path + "?from=1", as: "operator")
                #expect(missing.status == 404 && missing.json["error"]?.string?.contains("rootfs delta 1 2") == true)

                let said = try await world.server.cisternSuccessfully(["rootfs", "delta", "1", "2", "--stack", "tiny"])
                for word in [
                    "1 to 2 of tiny", "0.02 % of", "changed       1 names", "gone          0 names", "sha256:",
                ] {
                    #expect(said.output.contains(word), "\(word) in \(said.output)")
                }
                let delta = try await world.client.get(Self.path + "?from=1", as: "operator").json
                #expect(delta["changed"] == 1 && delta["gone"] == 0 && delta["from"] == "1" && delta["version"] == "2")
                #expect(delta["computedBy"] == "operator")
                let size = try #require(delta["layer"]?["size"]?.integer)
                #expect((100...1000).contains(size), "a few hundred bytes for one changed line: \(size)")

                // Longer than the grace period: only what something names stays.
                let start = ContinuousClock.now
                try await waitUntil("the grace period's end") { ContinuousClock.now > start + .milliseconds(1500) }
                #expect(try await world.client.operate("/api/v1/gc")["state"] == "done")
                try await world.server.cisternSuccessfully(["verify"])
                let again = try await world.client.operate(Self.path + "?from=1")
                #expect(again["state"] == "done" && again["report"] == delta, "\(again)")

                let back = try await world.client.operate("/api/v1/rootfs/tiny/1/delta?from=2&times=ignored")
                #expect(back["state"] == "done" && back["report"]?["times"] == "ignored", "\(back)")
                let list = try await world.client.get(Self.path, as: "operator").json["deltas"]?.array ?? []
                #expect(list == [delta])
            }
        }

        @Test("It is there after another start")
        func restarted() async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                let before = try await World.with(data: data, ["--stack", "tiny"]) { world in
                    try await world.server.importTinyRootfs(version: "1")
                    try await world.server.importTinyRootfs(version: "2", promote: false)
                    return try await world.client.operate(Self.path + "?from=1")["report"]
                }
                try await World.with(data: data) { world in
                    #expect(try await world.client.get(Self.path + "?from=1", as: "operator").json == before)
                    let again = try await world.client.operate(Self.path + "?from=1")
                    #expect(again["report"] == before, "\(again)")
                }
            }
        }

        @Test("What can't be is refused with the reason")
        func refused() async throws {
            try await World.with(["--stack", "tiny"]) { world in
                try await world.server.importTinyRootfs(version: "1")
                try await world.server.importTinyRootfs(version: "2", promote: false)
                for (path, status, code) in [
                    ("tiny/2/delta?from=2", 422, "unsuitable-delta"), ("tiny/2/delta?from=3", 404, "unknown"),
                    ("tiny/3/delta?from=1", 404, "unknown"), ("other/2/delta?from=1", 404, "unknown"),
                    ("tiny/2/delta?from=1&arch=arm64", 404, "unknown"), ("tiny/2/delta", 400, "invalid-query"),
                    ("tiny/2/delta?from=1&times=some", 400, "invalid-query"),
                    ("tiny/2/delta?from=%2e%2e", 400, "invalid-name"),
                    ("tiny/2/delta?from=1&arch=vax", 400, "invalid-name"),
                ] {
                    let answer = try await world.client.send("POST", "/api/v1/rootfs/" + path, as: "operator", body: [])
                    #expect(answer.status == status && answer.json["code"]?.string == code, "\(path): \(answer.text)")
                }
                let other = try await world.client.send("POST", Self.path + "?from=1", as: "pull", body: [])
                #expect(other.status == 403)
                #expect(try await world.client.get(Self.path, as: "operator").json["deltas"] == [])
            }
        }

        @Test("Killed while it computes, the server has the whole delta or none, and computes it when asked again")
        func killed() async throws {
            var random = SeededRandom(seed: 4)
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                try await World.with(data: data, ["--stack", "tiny"]) { world in
                    try await world.server.importTinyRootfs(version: "1")
                    try await world.server.importTinyRootfs(version: "2", promote: false)
                }
                let objects = StoreTree(directory: data + "/store").objects()
                var whole: JSONValue?
                for round in 0..<20 {
                    let moment = KillMoment(acknowledgements: 0...0, microseconds: 0...120_000, random: &random)
                    try await KillableServer.with(data: data) { server in
                        let found = try await server.client.get(Self.path + "?from=1", as: "operator")
                        try #require([200, 404].contains(found.status), "\(round): \(found.text)")
                        if found.status == 200 {
                            if let whole { #expect(found.json["layer"] == whole["layer"], "\(round)") }
                            whole = found.json
                        }
                        try await withThrowingTaskGroup(of: Void.self) { group in
                            // By turns, lest it is there from the first rounds on.
                            let times = round.isMultiple(of: 2) ? "compared" : "ignored"
                            group.addTask {
                                _ = try? await server.client.send(
                                    "POST", Self.path + "?from=1&times=\(times)", as: "operator", body: [],
                                    limit: .seconds(60))
                            }
                            group.addTask { try await moment.kill(server, after: Counter()) }
                            try await group.waitForAll()
                        }
                    }
                }
                try await World.with(data: data, ["--stack", "tiny", "--gc-grace-seconds", "1"]) { world in
                    let computed = try await world.client.operate(Self.path + "?from=1")
                    #expect(computed["state"] == "done", "\(computed)")
                    if let whole { #expect(computed["report"]?["layer"] == whole["layer"]) }
                    let start = ContinuousClock.now
                    try await waitUntil("the grace period's end") { ContinuousClock.now > start + .milliseconds(1500) }
                    _ = try await world.client.operate("/api/v1/gc")
                    try await world.server.cisternSuccessfully(["verify", "--repair"])
                    #expect(world.store.unfinished() == [])
                }
                let more = StoreTree(directory: data + "/store").objects().subtracting(objects)
                #expect(more.count { $0.hasPrefix("data/") } <= 1, "what killed servers left is gone: \(more)")
                #expect(more.count { $0.contains("delta-from") } == 1)
            }
        }
    }
}
