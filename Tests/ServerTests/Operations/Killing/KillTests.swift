import Foundation
import TestSupport
import Testing

extension ServerTests {
    @Suite("kill -9", .serialized, .longSideBySide)
    struct KillTests {
        private static let rounds = 200

        @Test("Killed at any moment of an upload, 200 times over, it has every acknowledged droplet whole")
        func survives() async throws {
            let seed = UInt64(ProcessInfo.processInfo.environment["KILL_SEED"] ?? "") ?? 19
            var random = SeededRandom(seed: seed)
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                try await World.with(data: data, ["--stack", "tiny"]) { try await $0.server.importTinyRootfs() }
                var acknowledged: [KillRound.Upload] = []
                var last: (round: KillRound, uploads: [KillRound.Upload])?
                for number in 0..<Self.rounds {
                    let round = KillRound(number: number, random: &random)
                    let previous = last
                    // What the killed server left is looked at through the one that is killed next.
                    let uploads = try await KillableServer.with(data: data) { server in
                        try await expectWhole(
                            previous?.uploads ?? [], .layers, server, "\(seed) \(previous?.round, default: "")")
                        return try await round.uploadAndKill(server)
                    }
                    last = (round, uploads)
                    acknowledged += uploads.filter(\.isAcknowledged)
                }
                try await KillableServer.with(data: data) { [last, acknowledged] server in
                    try await expectWhole(last?.uploads ?? [], .layers, server, "\(seed) \(last?.round, default: "")")
                    try await expectWhole(acknowledged, .bytes, server, "\(seed), all rounds")
                }
                #expect(acknowledged.count > Self.rounds, "the rounds test something")
                #expect(StoreTree(directory: data + "/store").unfinished() == [], "what a killed server left is gone")
            }
        }

        /// Checks uploads, a few at a time.
        private func expectWhole(
            _ uploads: [KillRound.Upload], _ depth: KillRound.Upload.Depth, _ server: KillableServer, _ what: String
        ) async throws {
            let problems = try await withThrowingTaskGroup(of: [String].self) { group in
                for lane in 0..<4 {
                    group.addTask {
                        var problems: [String] = []
                        for upload in stride(from: lane, to: uploads.count, by: 4).map({ uploads[$0] }) {
                            if let problem = try await upload.problem(depth, server.client) {
                                problems.append("\(upload.guid): \(problem)")
                            }
                        }
                        return problems
                    }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(problems == [], "KILL_SEED=\(what)")
        }

        @Test("Killed at any moment of its first start, it starts again as if nothing had been")
        func firstStart() async throws {
            var random = SeededRandom(seed: 7)
            for _ in 0..<12 {
                let moment = Int.random(in: 0...400_000, using: &random)
                try await withTemporaryDirectory { directory in
                    let data = directory + "/data"
                    let process = try ChildProcess(
                        "cistern", ["serve", "--data", data, "--listen", "127.0.0.1:0"], log: directory + "/log")
                    // Not to wait for anything: this is the random moment.
                    try await onThread { _ = usleep(UInt32(moment)) }
                    process.killGroup()
                    #expect(try await process.wait(atMost: .seconds(10)) != nil)
                    try await World.with(data: data) { world in
                        for user in ["operator", "pull"] {
                            let answer = try await world.client.get("/v2/", as: user)
                            #expect(answer.status == 200, "\(user), killed after \(moment) µs")
                        }
                    }
                }
            }
        }
    }
}
