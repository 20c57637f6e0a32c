import Foundation
import JSON
import OCI
import TestSupport
import Testing

extension ServerTests {
    @Suite("kill -9 and uploads that nobody waits for", .serialized, .longSideBySide)
    struct AsyncKillTests {
        private static let rounds = 20

        @Test("Killed at any moment, every upload that was accepted has one outcome, which the controller is told")
        func killed() async throws {
            var random = SeededRandom(seed: 23)
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                try await World.with(data: data, ["--stack", "tiny"]) { try await $0.server.importTinyRootfs() }
                let before = StoreTree(directory: data + "/store").objects()
                // A controller that is in trouble every now and then.
                try await ScriptedServer.with({ _, number, connection in
                    connection.answer(number % 4 == 3 ? 500 : 200)
                }) { controller in
                    let arguments = ["--controller-url", "http://\(controller.address)/internal/v4"]
                    var uploads: [AsyncUpload] = []
                    for number in 0..<Self.rounds {
                        let moment = KillMoment(acknowledgements: 0...12, microseconds: 0...60_000, random: &random)
                        let seed = random.next()
                        uploads += try await KillableServer.with(data: data, arguments) { server in
                            try await AsyncUpload.sendUntilKilled("k\(number)", server, moment, seed: seed)
                        }
                    }
                    #expect(uploads.count(where: \.isAccepted) > Self.rounds, "the rounds test something")
                    try await expectOutcomes(of: uploads, data, ["--stack", "tiny"] + arguments, controller, before)
                }
            }
        }

        /// Lets a server finish what the killed ones left, and compares.
        private func expectOutcomes(
            of uploads: [AsyncUpload], _ data: String, _ arguments: [String], _ controller: ScriptedServer,
            _ before: Set<String>
        ) async throws {
            let tree = StoreTree(directory: data + "/store")
            let kept = try await World.with(data: data, arguments + ["--gc-grace-seconds", "1"]) { world in
                let accepted = Set(uploads.filter(\.isAccepted).map(\.told))
                try await waitUntil("all to be told, and nothing to be left to do") {
                    let told = Set(controller.requests.map { String($0.target.dropFirst("/internal/v4/".count)) })
                    return accepted.isSubset(of: told) && !tree.objects().contains { $0.hasPrefix("bits/pending/") }
                }
                var messages: [String: Set<JSONValue>] = [:]
                for request in controller.requests {
                    let message = try JSONValue(parsing: request.body)
                    messages[String(request.target.dropFirst("/internal/v4/".count)), default: []].insert(message)
                }
                var kept: [AsyncUpload] = []
                for upload in uploads {
                    let told = messages[upload.told] ?? []
                    #expect(told.count <= 1, "\(upload.told): told several things: \(told)")
                    #expect(told.allSatisfy { upload.outcome($0) != nil }, "\(upload.told): \(told)")
                    let answer = try await world.client.get(upload.path, as: "operator")
                    if upload.isGood, !told.isEmpty {
                        #expect(answer.status == 200 && answer.body == upload.bytes, "\(upload.told)")
                        kept.append(upload)
                    } else if upload.isDroplet, answer.status == 200 {
                        // It was converted, and its client never heard of it: that is as if it had not waited.
                        #expect(!upload.isAccepted && answer.body == upload.bytes, "\(upload.told)")
                        kept.append(upload)
                    } else {
                        #expect(answer.status == 404, "\(upload.told) is there, and nobody was told")
                    }
                }
                let start = ContinuousClock.now
                try await waitUntil("the grace period's end") { ContinuousClock.now > start + .milliseconds(1500) }
                _ = try await world.client.operate("/api/v1/gc")
                // Bytes that were written and not named yet when a server was killed.
                try await world.server.cisternSuccessfully(["verify", "--repair"])
                return kept
            }
            let more = tree.objects().subtracting(before)
            // A droplet has its own bytes and a layer.
            let blobs = kept.count + kept.count(where: \.isDroplet)
            #expect(more.count { $0.hasPrefix("data/") } == blobs, "what was kept, and nothing else")
            #expect(more.count { $0.hasPrefix("blobs/") } == blobs)
            #expect(!more.contains { $0.hasPrefix("bits/pending/") })
            #expect(tree.unfinished() == [])
        }
    }
}
