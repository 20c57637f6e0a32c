import Foundation
import JSON
import OCI
import TestSupport
import Testing

extension ServerTests {
    @Suite("Quotas and rates of a running server", .serialized, .sideBySide)
    struct QuotaTests {
        private static func write(_ quotas: [String: Int], _ data: String) throws {
            var text = "users:\n  operator:\n    roles: [operator]\n  pull:\n    roles: [pull]\nquotas:\n"
            for (pattern, bytes) in quotas.sorted(by: { $0.key < $1.key }) {
                text += "  - repositories: \"\(pattern)\"\n    bytes: \(bytes)\n"
            }
            try Data(text.utf8).write(to: URL(fileURLWithPath: data + "/policy.yaml"), options: .atomic)
        }

        /// A server with quotas, in a directory that is used again.
        private static func with(
            _ quotas: [String: Int], _ arguments: [String] = [], _ body: (World, String) async throws -> Void
        ) async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                try await World.with(data: data) { _ in }
                try write(quotas, data)
                try await World.with(data: data, arguments) { try await body($0, data) }
            }
        }

        private static func usage(_ world: World, count: Bool = false) async throws -> JSONValue {
            if count { _ = try await world.client.operate("/api/v1/usage") }
            return try await world.client.get("/api/v1/usage", as: "operator").json
        }

        private static func total(_ world: World, _ pattern: String) async throws -> JSONValue {
            let quotas = try await usage(world)["quotas"]?.array ?? []
            return try #require(quotas.first { $0["repositories"]?.string == pattern })
        }

        @Test("A push over its quota is DENIED with a message that says why; content within it is served on")
        func denied() async throws {
            try await Self.with(["team/**": 100_000]) { world, _ in
                let repo = Repo(world.client, "team/app")
                let first = makeNoise(90_000, seed: "first")
                let digest = try await repo.push(first)
                for form in PushForm.allCases {
                    let bytes = makeNoise(10_001, seed: "second")
                    let answer = try await form.push(bytes, Digest.of(bytes).description, to: repo)
                    #expect(answer.status == 403, "\(form)")
                    #expect(answer.registryCode == "DENIED", "\(form)")
                    #expect(answer.text.contains("the quota of 'team/**' is 100000 bytes: 90000 are used"), "\(form)")
                }
                try await repo.expectBlob(digest, first)
                try await Repo(world.client, "other/app").push(makeNoise(200_000, seed: "other"))
                try await repo.push(makeNoise(10_000, seed: "third"))
                let total = try await Self.total(world, "team/**")
                #expect(total["used"] == 100_000)
                #expect(total["reserved"] == 0)
                #expect(total["limit"] == 100_000)
                let table = try await world.server.cistern(["usage"]).output
                #expect(table.contains("team/**"))
                #expect(table.contains("100.0 kB"))
            }
        }

        @Test("A droplet over its quota is answered 507 with the reason, and works after the policy was changed")
        func droplets() async throws {
            try await Self.with(["cloudfoundry/**": 100_000]) { world, data in
                let droplet = Droplet("over", noise: 80_000)
                let path = "/droplets/app/\(droplet.sha256)"
                let refused = try await world.client.send("PUT", path, as: "operator", body: droplet.bytes)
                #expect(refused.status == 507)
                #expect(refused.json["description"]?.string?.contains("the quota of 'cloudfoundry/**'") == true)
                #expect(world.store.unfinished() == [])
                try Self.write(["cloudfoundry/**": 1_000_000], data)
                try await waitUntil("the new policy") {
                    try await Self.total(world, "cloudfoundry/**")["limit"] == 1_000_000
                }
                let taken = try await world.client.send("PUT", path, as: "operator", body: droplet.bytes)
                #expect(taken.status == 201)
            }
        }

        @Test("Packages, buildpacks and build caches count as all else; what does not fit is 507 and leaves nothing")
        func bits() async throws {
            for (pattern, path, suffix) in [
                ("cistern/packages/**", "/packages", ""), ("cistern/buildpacks/**", "/buildpacks", ""),
                ("cistern/caches/**", "/buildpack_cache/entries", "/tiny"),
            ] {
                try await Self.with([pattern: 100_000], ["--gc-grace-seconds", "1"]) { world, _ in
                    func send(_ guid: String, _ query: String = "", _ bytes: [UInt8]) async throws -> Answer {
                        try await world.client.send(
                            "PUT", "\(path)/\(guid)\(suffix)\(query)", as: "operator", body: bytes)
                    }
                    func zip(_ seed: String) throws -> [UInt8] {
                        let noise = makeNoise(90_000, seed: seed).map { $0 % 64 + 48 }
                        return try TestZip.bytes(["noise": String(decoding: noise, as: UTF8.self)])
                    }
                    let first = try zip("first")
                    #expect(try await send("first", "", first).status == 201)
                    #expect(try await Self.total(world, pattern)["used"]?.integer == Int64(first.count))
                    _ = try await world.client.operate("/api/v1/gc")
                    let second = try zip("second")
                    let copy = Array(#"{"source_guid": "first"}"#.utf8)
                    for (query, bytes) in [("", second), ("?async=true", second), ("", copy)] {
                        let refused = try await send("second", query, bytes)
                        #expect(refused.status == 507, "\(path)\(query): \(refused.text)")
                        let reason = refused.json["description"]?.string ?? ""
                        #expect(
                            reason.contains("the quota of '\(pattern)' is 100000 bytes"), "\(path)\(query): \(reason)")
                        #expect(try await world.client.get("\(path)/second\(suffix)", as: "operator").status == 404)
                    }
                    let total = try await Self.total(world, pattern)
                    #expect(total["used"]?.integer == Int64(first.count) && total["reserved"] == 0, "\(total)")
                    #expect(world.store.unfinished() == [])
                    // What is deleted makes room.
                    let deleted = try await world.client.send("DELETE", "\(path)/first\(suffix)", as: "operator")
                    #expect(deleted.status == 204)
                    try await waitUntil("room for the second") {
                        try await send("second", "", second).status == 201
                    }
                }
            }
        }

        @Test("A client that is killed in the middle of an upload gives back what it held")
        func killed() async throws {
            try await Self.with(["team/**": 10 << 20, "cloudfoundry/**": 10 << 20]) { world, _ in
                for (method, target, pattern) in [
                    ("POST", "/v2/team/app/blobs/uploads/?digest=\(Digest.of([]))", "team/**"),
                    ("PUT", "/droplets/app/\(String(repeating: "0", count: 64))", "cloudfoundry/**"),
                ] {
                    let connection = try await RawConnection(port: world.client.port)
                    try await connection.send(
                        world.client.head(method, target, as: "operator", ["Content-Length": String(8 << 20)]))
                    try await connection.send([UInt8](repeating: 1, count: 1 << 10))
                    try await waitUntil("room to be held") {
                        try await (Self.total(world, pattern)["reserved"]?.integer ?? 0) >= 8 << 20
                    }
                    let bytes = makeNoise(4 << 20, seed: "another")
                    let other = try await Repo(world.client, "team/b").post("?digest=\(Digest.of(bytes))", bytes)
                    #expect(other.status == (pattern == "team/**" ? 403 : 201))
                    connection.reset()
                    try await waitUntil("it to be given back") {
                        try await Self.total(world, pattern)["reserved"] == 0
                    }
                }
            }
        }

        @Test("A killed server counts again, and a push right after the restart is held to what is found")
        func restarted() async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                try await World.with(data: data) { _ in }
                try Self.write(["team/**": 100_000], data)
                let world = try await World(data: data)
                try await Repo(world.client, "team/app").push(makeNoise(90_000, seed: "first"))
                try await world.server.kill()
                try await World.with(data: data, ["--limits-store-bytes", "1000000000"]) { world in
                    let bytes = makeNoise(10_001, seed: "second")
                    let repo = Repo(world.client, "team/app")
                    let answer = try await repo.post("?digest=\(Digest.of(bytes))", bytes)
                    #expect(answer.status == 403, "\(answer.text)")
                    try await repo.push(makeNoise(10_000, seed: "third"))
                    #expect(try await Self.total(world, "team/**")["used"] == 100_000)
                    let usage = try await Self.usage(world, count: true)
                    #expect(usage["counted"]?["logicalBytes"] == 100_000)
                    let stored = try #require(usage["store"]?["used"]?.integer)
                    #expect(stored >= 100_000, "the lifecycle's programs are there besides")
                    #expect(usage["counted"]?["largest"]?.array?.first?["repository"] == "team/app")
                    #expect(world.log.contains("counted usage"))
                }
            }
        }

        @Test("A full store refuses with 507, images and droplets alike, and collected garbage makes room")
        func store() async throws {
            let arguments = ["--limits-store-bytes", "100000000", "--gc-grace-seconds", "1"]
            try await Self.with([:], arguments) { world, _ in
                let before = try #require(try await Self.usage(world, count: true)["store"]?["used"]?.integer)
                let repo = Repo(world.client, "a/b")
                let rest = Int(100_000_000 - before)
                let bytes = makeNoise(rest - 1000, seed: "large")
                let digest = try await repo.push(bytes)
                let small = makeNoise(1001, seed: "small")
                let answer = try await repo.post("?digest=\(Digest.of(small))", small)
                #expect(answer.status == 507)
                #expect(answer.registryCode == "DENIED")
                #expect(answer.text.contains("the store's limit is 100000000 bytes"))
                let droplet = Droplet("x", noise: 2000)
                let refused = try await world.client.send(
                    "PUT", "/droplets/app/\(droplet.sha256)", as: "operator", body: droplet.bytes)
                #expect(refused.status == 507)
                #expect(try await repo.delete("blobs/\(digest)").status == 202)
                try await waitUntil("the garbage to go") {
                    _ = try await world.client.operate("/api/v1/gc")
                    return try await (Self.usage(world)["store"]?["used"]?.integer ?? .max) <= before
                }
                try await repo.push(small)
            }
        }

        @Test("An address over its rate has 429 with Retry-After, and health is answered all the same")
        func rate() async throws {
            try await World.with(["--limits-requests-per-address", "1"]) { world in
                var answers: [Answer] = []
                while answers.last?.status != 429, answers.count < 200 {
                    answers.append(try await world.client.get("/v2/"))
                }
                let refused = try #require(answers.last)
                #expect(refused.status == 429)
                #expect(answers.count > 50, "a minute's requests come at once")
                #expect(refused.registryCode == "TOOMANYREQUESTS")
                #expect(Int(refused["Retry-After"] ?? "") == 1)
                for path in ["/healthz", "/readyz"] {
                    #expect(try await world.client.get(path, as: nil).status == 200)
                }
            }
        }
    }
}
