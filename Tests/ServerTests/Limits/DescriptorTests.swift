import Foundation
import JSON
import OCI
import TestSupport
import Testing

extension ServerTests {
    @Suite("Descriptors and readiness", .serialized, .sideBySide)
    struct DescriptorTests {
        @Test("With nofile 1024 and more idle connections than that, new ones and 128 pulls at once are served")
        func crowded() async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                try await World.with(data: data) { _ in }
                try await World.add(["pusher": "roles: [push]"], to: data)
                try await World.with(data: data, descriptors: 1024) { world in
                    let content = [UInt8](repeating: 7, count: 100_000)
                    let digest = Digest.of(content).description
                    let pushed = try await world.client.send(
                        "POST", "/v2/team/app/blobs/uploads/?digest=\(digest)", as: "pusher",
                        ["Content-Type": "application/octet-stream"], body: content)
                    #expect(pushed.status == 201)
                    // Each address of the crowd has more connections than those who pull have: where a handshake takes
                    // long, it is the crowd that makes room.
                    let crowd = try await Crowd(port: world.client.port, count: 1200, addresses: 2, sending: [])
                    for (path, user) in [("/healthz", nil), ("/v2/", "pull"), ("/api/v1/overview", "operator")] {
                        #expect(try await world.client.get(path, as: user).status == 200)
                    }
                    try await withThrowingTaskGroup(of: Bool.self) { group in
                        for _ in 0..<128 {
                            group.addTask {
                                let answer = try await world.client.get("/v2/team/app/blobs/\(digest)", as: "pusher")
                                return answer.status == 200 && answer.body == content
                            }
                        }
                        for try await isGood in group { #expect(isGood) }
                    }
                    #expect(try await world.client.get("/readyz", as: nil).status == 200)
                    withExtendedLifetime(crowd) {}
                }
            }
        }

        /// Asks over a connection that stays.
        private static func readiness(_ connection: RawConnection) async throws -> Answer {
            try await connection.send("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
            return try await Answer(from: connection)
        }

        @Test("Without descriptors it is not ready, and with some again it is")
        func none() async throws {
            try await World.with { world in
                let connection = try await RawConnection(port: world.client.port)
                #expect(try await Self.readiness(connection).status == 200)
                let pid = String(world.server.process.pid)
                _ = try await run("prlimit", ["--pid", pid, "--nofile=8:"])
                try await waitUntil("it to say so") {
                    let answer = try await Self.readiness(connection)
                    return answer.status == 503 && answer.json["checks"]?["descriptors"] == "failed"
                }
                _ = try await run("prlimit", ["--pid", pid, "--nofile=4096:"])
                try await waitUntil("it to be ready again") { try await Self.readiness(connection).status == 200 }
            }
        }

        @Test("A store that has become read-only is not ready, though nobody has written since")
        func readOnly() async throws {
            try await withTemporaryDirectory { directory in
                let mount = try await Mount.disk(in: directory, megabytes: 64)
                let world = try await World(data: mount.path + "/data")
                do {
                    #expect(try await world.client.get("/readyz", as: nil).status == 200)
                    try await mount.fail()
                    try await waitUntil("/readyz to say so") {
                        let answer = try await world.client.get("/readyz", as: nil)
                        return answer.status == 503 && answer.json["checks"]?["store"] == "failed"
                    }
                } catch {
                    try? await world.server.kill()
                    throw error
                }
                try await world.server.kill()
            }
        }
    }
}
