import Foundation
import JSON
import TestSupport
import Testing

extension ServerTests {
    @Suite("kill -9 and promotions", .serialized, .longSideBySide)
    struct PromotionKillTests {
        private static let rounds = 40

        @Test("Killed at any moment of promotions and rollbacks, it has all that were answered, and is on one of them")
        func survives() async throws {
            let seed = UInt64(ProcessInfo.processInfo.environment["KILL_SEED"] ?? "") ?? 23
            var random = SeededRandom(seed: seed)
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                let droplet = Droplet("promotions")
                let digests = try await World.with(data: data, ["--stack", "tiny"]) { world in
                    var digests: [String: String] = [:]
                    for version in ["1", "2", "3"] { try await world.server.importTinyRootfs(version: version) }
                    try await world.upload(droplet, guid: "app")
                    for version in ["1", "2", "3"] {
                        digests[version] = try await Image(
                            "\(droplet.sha256)-\(version)", of: "cloudfoundry/app", from: world.client
                        ).digest
                    }
                    return digests
                }
                var (tried, answered): (Set<String>, Set<String>) = (["imported"], ["imported"])
                for number in 0...Self.rounds {
                    let moment = KillMoment(acknowledgements: 0...12, microseconds: 0...8_000, random: &random)
                    let steps = (0..<200).map { _ in Int.random(in: 0..<4, using: &random) }
                    let (before, done) = (tried, answered)
                    let round = try await KillableServer.with(data: data) { server in
                        let current = try await server.client.get("/api/v1/rootfs/tiny/current", as: "operator").json
                        let reasons = (current["history"]?.array ?? []).compactMap { $0["reason"]?.string }
                        #expect(done.isSubset(of: reasons), "KILL_SEED=\(seed), before round \(number), \(moment)")
                        #expect(before.isSuperset(of: reasons), "nothing that nobody asked for")
                        #expect(reasons.count - 3 == Set(reasons).subtracting(["imported"]).count, "each is there once")
                        let image = try await server.client.get(
                            "/v2/cloudfoundry/app/manifests/\(droplet.sha256)", as: "operator")
                        #expect(
                            image["Docker-Content-Digest"] == digests[current["version"]?.string ?? ""],
                            "KILL_SEED=\(seed), before round \(number): \(current), \(image.text), of \(digests)")
                        return try await Self.rotate(server, moment, steps, "round \(number)")
                    }
                    tried.formUnion(round.tried)
                    answered.formUnion(round.answered)
                }
                #expect(answered.count > Self.rounds, "the rounds test something")
            }
        }

        private typealias Reasons = (tried: Set<String>, answered: Set<String>)

        /// Promotes and goes back until the server is killed. Each change has a reason of its own.
        private static func rotate(
            _ server: KillableServer, _ moment: KillMoment, _ steps: [Int], _ name: String
        ) async throws -> Reasons {
            let acknowledged = Counter()
            return try await withThrowingTaskGroup(of: Reasons.self) { group in
                group.addTask {
                    var reasons: Reasons = ([], [])
                    for (index, step) in steps.enumerated() {
                        let reason = "\(name), \(index)"
                        let (method, route) = step == 0 ? ("POST", "rollback") : ("PUT", "current")
                        let version = step == 0 ? "" : #""version":"\#(step)","#
                        let body = #"{\#(version)"reason":"\#(reason)"}"#
                        reasons.tried.insert(reason)
                        let answer = try? await server.client.send(
                            method, "/api/v1/rootfs/tiny/\(route)", as: "operator", body: Array(body.utf8),
                            limit: .seconds(60))
                        guard let answer else { break }
                        try #require([200, 409].contains(answer.status), "\(answer.text)")
                        // Promoting what is current, or going back from the first, changes nothing.
                        let last = answer.json["history"]?.array?.first?["reason"]?.string
                        if last == reason { reasons.answered.insert(reason) }
                        acknowledged.add()
                    }
                    return reasons
                }
                group.addTask {
                    try await moment.kill(server, after: acknowledged)
                    return ([], [])
                }
                return try await group.reduce(into: ([], [])) { all, one in
                    all.tried.formUnion(one.tried)
                    all.answered.formUnion(one.answered)
                }
            }
        }
    }
}
