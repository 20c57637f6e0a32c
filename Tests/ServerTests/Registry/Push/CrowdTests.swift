import Foundation
import JSON
import OCI
import Synchronization
import TestSupport
import Testing

extension ServerTests {
    @Suite("Many who push at once", .serialized, .longSideBySide)
    struct CrowdTests {
        private static let pushers = 32
        /// `SOAK_SECONDS` makes it longer: `make soak`.
        private static let duration = Duration.seconds(
            Int(ProcessInfo.processInfo.environment["SOAK_SECONDS"] ?? "") ?? 60)
        /// Far longer than a step of a pusher takes here, and short enough that garbage goes while they push.
        private static let arguments = ["--stack", "tiny", "--gc-interval-seconds", "0", "--gc-grace-seconds", "20"]

        @Test(
            "32 of them, others who stage and promote, and collections: nothing fails, nothing acknowledged is lost",
            .timeLimit(.minutes(30)))
        func crowd() async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                let (ledgers, stagers) = try await World.with(data: data, Self.arguments) { world in
                    try await world.server.importTinyRootfs()
                    try await world.server.importTinyRootfs(version: "2", promote: false)
                    let deadline = ContinuousClock.now + Self.duration
                    let collecting = Task { try await Self.collect(world.client, until: deadline) }
                    let promoting = Task { try await Stager.promote(world, until: deadline) }
                    let staging = (0..<2).map { number in
                        Task {
                            var stager = Stager(number: number)
                            try await stager.work(world, until: deadline)
                            return stager
                        }
                    }
                    let ledgers = try await withThrowingTaskGroup(of: PushLedger.self) { group in
                        for number in 0..<Self.pushers {
                            group.addTask { try await Self.push(number, world.client, until: deadline) }
                        }
                        return try await group.reduce(into: []) { $0.append($1) }
                    }
                    let collected = try await collecting.value
                    #expect(collected.retired > 0, "garbage went meanwhile")
                    try await promoting.value
                    var stagers: [Stager] = []
                    for task in staging { stagers.append(try await task.value) }
                    for stager in stagers { try await stager.expectWhole(world) }
                    try await Self.expectWhole(ledgers, world.client)
                    try await Self.expectNoDamage(world.client)
                    #expect(!world.log.contains(#""status":5"#), "no request failed inside")
                    let pushed = ledgers.reduce(0) { $0 + $1.blobs.count + $1.manifests.count }
                    print(
                        "\(pushed) blobs and manifests of \(Self.pushers) pushers in \(Self.duration), "
                            + "\(collected.retired) blobs went in \(collected.count) collections")
                    #expect(pushed > Self.pushers * 10)
                    return (ledgers, stagers)
                }
                try await World.with(data: data, Self.arguments) { world in
                    for stager in stagers { try await stager.expectWhole(world) }
                    try await Self.expectWhole(ledgers, world.client)
                    #expect(world.store.unfinished() == [])
                }
            }
        }

        /// Nothing is damaged, and no verification found that something was, or failed.
        private static func expectNoDamage(_ client: Client) async throws {
            let status = try await waitFor("the verification's end") { () -> Answer? in
                let answer = try await client.get("/api/v1/verify", as: "operator")
                return answer.json["running"] == .null && answer.json["last"] != .null ? answer : nil
            }
            #expect(status.json["failure"] == .null, "\(status.text)")
            #expect(status.json["last"]?["damagedBlobs"] == 0, "\(status.text)")
        }

        /// Has garbage collected, and everything verified, over and over.
        /// - Returns: how often, and how many blobs went.
        private static func collect(
            _ client: Client, until deadline: ContinuousClock.Instant
        ) async throws -> (count: Int, retired: Int64) {
            var (count, retired) = (0, Int64(0))
            while ContinuousClock.now < deadline {
                let collected = try await client.operate("/api/v1/gc")
                try #require(collected["state"] == "done", "\(collected)")
                retired += collected["report"]?["retired"]?.integer ?? 0
                let verified = try await client.send(
                    "POST", "/api/v1/verify?repair=true&rate=1000000000", as: "operator", body: [])
                try #require([202, 409].contains(verified.status), "\(verified.text)")
                count += 1
            }
            return (count, retired)
        }

        /// One client: blobs that only it has, and blobs that all push at the same time, and images of both.
        private static func push(
            _ number: Int, _ client: Client, until deadline: ContinuousClock.Instant
        ) async throws -> PushLedger {
            var random = SeededRandom(seed: UInt64(number))
            var ledger = PushLedger(repository: "crowd/r\(number)")
            let repo = Repo(client, ledger.repository)
            var step = 0
            while ContinuousClock.now < deadline {
                let own = Content(seed: "\(number) \(step)", size: Int.random(in: 0...20_000, using: &random))
                // All are at about the same step at the same time.
                let shared = Content(seed: "shared \(step)", size: 5000)
                for content in [own, shared] {
                    let form = PushForm.allCases.randomElement(using: &random) ?? .single
                    let answer = try await form.push(content.bytes, content.digest, to: repo)
                    try #require(answer.status == 201, "\(form) of \(content): \(answer.text)")
                    ledger.push(content, acknowledged: true)
                }
                let layers = [own, shared].map { Manifests.descriptor($0.digest, size: $0.size) }
                for manifest in [Manifests.image(layers: layers), Manifests.image(layers: [layers[1]])] {
                    let tag = "t\(Int.random(in: 0...3, using: &random))"
                    let answer = try await repo.put(manifest: manifest, tag)
                    try #require(answer.status == 201, "\(answer.text)")
                    ledger.push(manifest, tag: tag, acknowledged: true)
                }
                if step % 4 == 3, let digest = ledger.manifests.keys.randomElement(using: &random) {
                    let answer = try await repo.delete("manifests/\(digest)")
                    try #require(answer.status == 202, "\(answer.text)")
                    ledger.delete(digest, acknowledged: true)
                }
                step += 1
            }
            return ledger
        }

        private static func expectWhole(_ ledgers: [PushLedger], _ client: Client) async throws {
            let problems = try await withThrowingTaskGroup(of: [String].self) { group in
                for lane in 0..<8 {
                    group.addTask {
                        var problems: [String] = []
                        for index in stride(from: lane, to: ledgers.count, by: 8) {
                            problems += try await ledgers[index].problems(client)
                        }
                        return problems
                    }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(problems == [])
        }
    }
}
