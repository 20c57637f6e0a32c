import OCI
import TestSupport
import Testing

extension ServerTests {
    @Suite("A flood of uploads that nobody finishes", .serialized, .sideBySide)
    struct UploadFloodTests {
        /// Begins uploads over one connection, and sends something for each.
        /// - Returns: how many were begun.
        private static func begin(_ count: Int, _ world: World, as user: String, _ bytes: [UInt8]) async throws -> Int {
            let connection = try await RawConnection(port: world.client.port)
            defer { connection.close() }
            func ask(_ method: String, _ target: String, _ headers: [String: String], _ body: [UInt8]) async throws
                -> Answer
            {
                let headers = headers.merging(["Content-Length": "\(body.count)"]) { $1 }
                let head = world.client.head(method, target, as: user, headers)
                    .replacing("Connection: close\r\n", with: "")
                try await connection.send(Array(head.utf8) + body)
                return try await Answer(from: connection)
            }
            var begun = 0
            for _ in 0..<count {
                let answer = try await ask("POST", "/v2/\(user)/app/blobs/uploads/", [:], [])
                guard answer.status == 202, let place = answer["Location"] else { continue }
                begun += 1
                #expect(try await ask("PATCH", place, [:], bytes).status == 202)
            }
            return begun
        }

        @Test("2,048 of two users hold no descriptors, and others' pushes go on, the operator's too")
        func flood() async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                try await World.with(data: data) { _ in }
                let users = ["flood1", "flood2", "other"]
                try await World.add(Dictionary(uniqueKeysWithValues: users.map { ($0, "roles: [push]") }), to: data)
                try await World.with(data: data) { world in
                    // Larger than what is held in memory until it is whole.
                    let bytes = makeNoise(10_000, seed: "flood")
                    #expect(try await Self.begin(1, world, as: "other", bytes) == 1)
                    let before = world.descriptors
                    try await withThrowingTaskGroup(of: Int.self) { group in
                        for number in 0..<16 {
                            group.addTask { try await Self.begin(128, world, as: "flood\(number % 2 + 1)", bytes) }
                        }
                        var begun = 0
                        for try await count in group { begun += count }
                        // Of 2,048 places one is the other user's.
                        #expect(begun == 2047)
                    }
                    try await world.waitForDescriptors(before)
                    #expect(try await Self.begin(1, world, as: "flood1", bytes) == 0, "a user has a share")
                    for user in ["other", "operator"] {
                        #expect(try await Self.begin(20, world, as: user, bytes) == 20)
                        let content = makeNoise(100_000, seed: user)
                        let answer = try await world.client.send(
                            "POST", "/v2/\(user)/app/blobs/uploads/?digest=\(Digest.of(content))", as: user,
                            ["Content-Type": "application/octet-stream"], body: content)
                        #expect(answer.status == 201)
                        #expect(try await world.client.get("/v2/\(user)/app/blobs/\(Digest.of(content))").status == 200)
                    }
                    #expect(try await world.client.get("/readyz", as: nil).status == 200)
                }
            }
        }
    }
}
