import Foundation
import JSON
import OCI
import TestSupport
import Testing

extension ServerTests {
    @Suite("kill -9 while images are pushed and garbage is collected", .serialized, .longSideBySide)
    struct PushKillTests {
        private static let rounds = 200
        /// Far longer than a push takes here, and short enough that garbage of early rounds goes in later ones.
        private static let arguments = ["--gc-grace-seconds", "10"]

        @Test("Killed at any moment of pushes and collections, 200 times over, it has all that was acknowledged, whole")
        func survives() async throws {
            let seed = UInt64(ProcessInfo.processInfo.environment["KILL_SEED"] ?? "") ?? 23
            var random = SeededRandom(seed: seed)
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                try await World.with(data: data) { _ in }
                var ledgers: [PushLedger] = []
                var retired: Int64 = 0
                var last: (round: PushKillRound, ledgers: [PushLedger])?
                for number in 0..<Self.rounds {
                    let round = PushKillRound(number: number, random: &random)
                    // What the killed server left is looked at through the one that is killed next.
                    let (pushed, gone) = try await KillableServer.with(data: data, Self.arguments) { [last] server in
                        // Most collections die with their server; some come to their end.
                        let gone = number % 20 == 19 ? try await collect(server.client) : 0
                        try await expectWhole(last?.ledgers ?? [], server, "\(seed) \(last?.round, default: "")")
                        return (try await round.pushAndKill(server), gone)
                    }
                    retired += gone
                    last = (round, pushed)
                    ledgers += pushed
                }
                try await KillableServer.with(data: data, Self.arguments) { [ledgers] server in
                    try await expectWhole(ledgers, server, "\(seed), all rounds")
                }
                let acknowledged = ledgers.reduce(0) { $0 + $1.blobs.count + $1.manifests.count }
                let open = ledgers.reduce(0) { $0 + $1.openBlobs.count + $1.openManifests.count }
                #expect(retired > 0, "garbage went meanwhile")
                #expect(acknowledged > Self.rounds * 4 && open > Self.rounds, "the rounds test something")
                #expect(StoreTree(directory: data + "/store").unfinished() == [], "what a killed server left is gone")
            }
        }

        /// - Returns: How many blobs went.
        private func collect(_ client: Client) async throws -> Int64 {
            let collected = try await client.operate("/api/v1/gc")
            try #require(collected["state"] == "done", "\(collected)")
            return collected["report"]?["retired"]?.integer ?? 0
        }

        private func expectWhole(_ ledgers: [PushLedger], _ server: KillableServer, _ what: String) async throws {
            let problems = try await withThrowingTaskGroup(of: [String].self) { group in
                for lane in 0..<4 {
                    group.addTask {
                        var problems: [String] = []
                        for index in stride(from: lane, to: ledgers.count, by: 4) {
                            problems += try await ledgers[index].problems(server.client)
                        }
                        return problems
                    }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(problems == [], "KILL_SEED=\(what)")
        }
    }
}

/// Pushes from several clients at once, and the moment of the server's death among them.
struct PushKillRound: CustomStringConvertible, Sendable {
    private static let clients = 4

    let number: Int
    private let moment: KillMoment
    private let seed: UInt64

    init(number: Int, random: inout SeededRandom) {
        self.number = number
        moment = KillMoment(acknowledgements: 0...30, microseconds: 0...20_000, random: &random)
        seed = random.next()
    }

    var description: String { "\(number), \(moment)" }

    /// Pushes and collects until the server is killed.
    func pushAndKill(_ server: KillableServer) async throws -> [PushLedger] {
        let acknowledged = Counter()
        return try await withThrowingTaskGroup(of: PushLedger?.self) { group in
            for client in 0..<Self.clients {
                group.addTask { try await push(client, server.client, acknowledged) }
            }
            group.addTask {
                while let answer = try? await server.client.send("POST", "/api/v1/gc", as: "operator", body: []) {
                    // One may be under way still.
                    try #require([202, 409].contains(answer.status), "\(answer.text)")
                }
                return nil
            }
            group.addTask {
                try await moment.kill(server, after: acknowledged)
                return nil
            }
            return try await group.reduce(into: []) { ledgers, ledger in
                guard var ledger else { return }
                ledger.letGo()
                ledgers.append(ledger)
            }
        }
    }

    /// One client: a blob, then a manifest that names it and moves a tag, and now and then a deletion, until there is no
    /// answer any more.
    private func push(_ index: Int, _ client: Client, _ acknowledged: Counter) async throws -> PushLedger {
        var random = SeededRandom(seed: seed &+ UInt64(index))
        var ledger = PushLedger(repository: "kill/r\(number)-\(index)")
        let repo = Repo(client, ledger.repository)
        // Far more than it gets to: a server that is not killed is a failure of its own.
        for step in 0..<1000 {
            let content = Content(
                seed: "\(ledger.repository) \(step)", size: Int.random(in: 0...60_000, using: &random))
            let form = PushForm.allCases.randomElement(using: &random) ?? .single
            let pushed = try? await form.push(content.bytes, content.digest, to: repo)
            if let pushed { try #require(pushed.status == 201, "\(form): \(pushed.text)") }
            ledger.push(content, acknowledged: pushed != nil)
            if pushed == nil { return ledger }
            acknowledged.add()

            let layer = Manifests.descriptor(content.digest, size: content.size)
            let manifest = Manifests.image(layers: [layer])
            let tag = "t\(Int.random(in: 0...2, using: &random))"
            let put = try? await repo.put(manifest: manifest, tag)
            if let put { try #require(put.status == 201, "\(put.text)") }
            ledger.push(manifest, tag: tag, acknowledged: put != nil)
            if put == nil { return ledger }
            acknowledged.add()

            guard step % 3 == 2, let digest = ledger.manifests.keys.sorted().first else { continue }
            let removed = try? await repo.delete("manifests/\(digest)")
            if let removed { try #require(removed.status == 202, "\(removed.text)") }
            ledger.delete(digest, acknowledged: removed != nil)
            if removed == nil { return ledger }
            acknowledged.add()
        }
        return ledger
    }
}
