import Foundation
import TestSupport
import Testing

extension ServerTests {
    @Suite("kill -9")
    struct KillTests {
        private static let rounds = 200
        private static let clients = 4

        @Test(
            "Killed at any moment of an upload, 200 times over, it has every acknowledged droplet whole",
            .timeLimit(.minutes(8)))
        func survives() async throws {
            var random = SeededRandom(seed: UInt64(ProcessInfo.processInfo.environment["KILL_SEED"] ?? "") ?? 19)
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                try await World.with(data: data, ["--stack", "tiny"]) { try await $0.server.importTinyRootfs() }
                var server = try await KillableServer(data: data)
                var acknowledged: [Sent] = []
                for round in 0..<Self.rounds {
                    let moment = Moment(
                        acknowledged: Int.random(in: 0...6, using: &random),
                        nanoseconds: Int.random(in: 0...40_000_000, using: &random))
                    let sent = try await Self.uploadAndKill(server, round: round, moment, seed: random.next())
                    server = try await KillableServer(data: data)
                    for (index, upload) in sent.enumerated() {
                        let problem = try await Self.check(upload, server.client, allLayers: index == 0)
                        #expect(problem == nil, "round \(round), \(moment), \(upload.guid)")
                    }
                    acknowledged += sent.filter(\.isAcknowledged)
                }
                for upload in acknowledged {
                    let problem = try await Self.check(upload, server.client)
                    #expect(problem == nil, "at the end: \(upload.guid)")
                }
                #expect(acknowledged.count > Self.rounds, "the rounds test something")
                #expect(StoreTree(directory: data + "/store").unfinished() == [], "what a killed server left is gone")
                try await server.kill()
            }
        }

        @Test("Killed at any moment of its first start, it starts again as if nothing had been")
        func firstStart() async throws {
            var random = SeededRandom(seed: 7)
            for _ in 0..<12 {
                let moment = Int.random(in: 0...500_000, using: &random)
                try await withTemporaryDirectory { directory in
                    let data = directory + "/data"
                    let process = try ChildProcess(
                        "cistern", ["serve", "--data", data, "--listen", "127.0.0.1:0"], log: directory + "/log")
                    // The random moment, in microseconds.
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

        struct Moment: CustomStringConvertible {
            /// After so many acknowledgements …
            let acknowledged: Int
            /// … and so long.
            let nanoseconds: Int
            var description: String { "killed \(nanoseconds) ns after \(acknowledged) acknowledgements" }
        }

        struct Sent {
            let guid: String
            let droplet: Droplet
            let isAcknowledged: Bool
        }

        /// Uploads from several clients until the server is killed.
        private static func uploadAndKill(
            _ server: KillableServer, round: Int, _ moment: Moment, seed: UInt64
        ) async throws -> [Sent] {
            let count = Counter()
            let all = try await withThrowingTaskGroup(of: [Sent].self) { group in
                for client in 0..<clients {
                    var random = SeededRandom(seed: seed &+ UInt64(client))
                    group.addTask {
                        var sent: [Sent] = []
                        // Enough for any moment; a server that is not killed in time would be a failure of its own.
                        for index in 0..<1000 {
                            let guid = "k\(round)-\(client)"
                            let droplet = Droplet("\(guid) \(index)", noise: Int.random(in: 0...60_000, using: &random))
                            let path = "/droplets/\(guid)/\(droplet.sha256)"
                            let answer = try? await server.client.send(
                                "PUT", path, as: "operator", body: droplet.bytes, limit: .seconds(20))
                            if let answer { try #require(answer.status == 201, "\(answer.text)") }
                            sent.append(Sent(guid: guid, droplet: droplet, isAcknowledged: answer != nil))
                            guard answer != nil else { break }
                            count.add()
                        }
                        return sent
                    }
                }
                group.addTask {
                    try await onThread {
                        let deadline = ContinuousClock.now + .seconds(20)
                        while count.value < moment.acknowledged, ContinuousClock.now < deadline { usleep(200) }
                        // Not to wait for anything: this is the random moment.
                        usleep(UInt32(moment.nanoseconds / 1000))
                    }
                    try await server.kill()
                    return []
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            return all
        }

        /// Says what is wrong: an acknowledged droplet must be there, and what is there must be whole.
        private static func check(_ sent: Sent, _ client: Client, allLayers: Bool = false) async throws -> String? {
            let answer = try await client.get("/droplets/\(sent.guid)/\(sent.droplet.sha256)", as: "operator")
            if answer.status == 404, !sent.isAcknowledged {
                let image = try await client.get(
                    "/v2/cloudfoundry/\(sent.guid)/manifests/\(sent.droplet.sha256)", as: "operator")
                return image.status == 404 ? nil : "an image without its droplet"
            }
            guard answer.status == 200 else { return "it is answered with \(answer.status): \(answer.text)" }
            guard answer.body == sent.droplet.bytes else { return "its bytes are others" }
            // One user, since each costs a password check after each start.
            let image = try await Image(
                sent.droplet.sha256, of: "cloudfoundry/\(sent.guid)", from: client, as: "operator")
            try await image.verifyLayers(all: allLayers, from: client, as: "operator")
            return nil
        }
    }
}

/// A server on plain loopback alone, started as fast as can be.
private struct KillableServer {
    let process: ChildProcess
    let client: Client

    init(data: String) async throws {
        unlink(data + "/address")
        let process = try ChildProcess(
            "cistern",
            ["serve", "--data", data, "--listen", "127.0.0.1:0", "--plain-listen", "127.0.0.1:0", "--stack", "tiny"],
            log: data + ".log")
        self.process = process
        do {
            let port = try await waitFor("the server's address", within: .seconds(20)) {
                try #require(process.isRunning, "the server ended: see \(data).log")
                let text = (try? String(contentsOfFile: data + "/address", encoding: .utf8)) ?? ""
                let line = text.split(whereSeparator: \.isNewline).first { $0.hasPrefix("http://") }
                return line?.split(separator: ":").last.flatMap { Int($0) }
            }
            var passwords: [String: String] = [:]
            for user in ["operator", "pull"] {
                let text = try String(contentsOfFile: "\(data)/secrets/\(user).password", encoding: .utf8)
                passwords[user] = text.trimmingCharacters(in: .newlines)
            }
            client = Client(port: port, passwords: passwords)
        } catch {
            process.killGroup()
            print((try? String(contentsOfFile: data + ".log", encoding: .utf8))?.suffix(4000) ?? "")
            throw error
        }
    }

    func kill() async throws {
        process.killGroup()
        try #require(try await process.wait(atMost: .seconds(10)) == 128 + SIGKILL)
    }
}
