import Foundation
import OCI
import TestSupport
import Testing

extension ServerTests {
    @Suite("SIGTERM under load", .serialized, .sideBySide)
    struct ShutdownTests {
        @Test(
            "Running uploads and downloads finish, new connections are refused, and it ends with 0 in time",
            arguments: [
                SIGTERM, SIGINT,
            ])
        func drains(signal: Int32) async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                let large = Droplet("large", noise: 24 << 20)
                let small = Droplet("small", noise: 500_000)
                let world = try await World(data: data, arguments: ["--stack", "tiny", "--drain-seconds", "20"])
                do {
                    try await world.server.importTinyRootfs()
                    try await world.upload(large, guid: "large")

                    let uploads = try await Self.beginUploads(small, world)
                    let downloads = try await Self.beginDownloads(large, world)
                    let idle = try await RawConnection(port: world.client.port)
                    try await idle.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
                    #expect(try await Answer(from: idle).status == 200)
                    world.server.process.signal(signal)
                    try await waitUntil("new connections to be refused") {
                        do {
                            try await RawConnection(port: world.client.port).close()
                            return false
                        } catch RawConnection.Failure.refused {
                            return true
                        } catch RawConnection.Failure.system(ECONNRESET) {
                            // It stood in the listener's queue when that was closed.
                            return false
                        }
                    }
                    #expect(world.server.process.isRunning, "it waits for what is under way")
                    for upload in uploads {
                        try await upload.send(Array(small.bytes[(small.bytes.count / 2)...]))
                        let answer = try await Answer(from: upload)
                        #expect(answer.status == 201, "\(answer.text)")
                    }
                    for (download, begun) in downloads {
                        let answer = try await Answer(from: download, begun: begun)
                        #expect(answer.status == 200 && answer.body == large.bytes)
                    }
                    #expect(try await idle.receive().isEmpty, "an idle connection is closed")
                    let status = try await world.server.process.wait(atMost: .seconds(10))
                    #expect(status == 0, "it ends by itself, well before the grace time is over")
                    #expect(!FileManager.default.fileExists(atPath: data + "/address"), "nobody looks for it any more")
                    try world.expectNoSecrets()
                } catch {
                    try? await world.server.kill()
                    print(world.log.suffix(30_000))
                    throw error
                }
                try await World.with(data: data, ["--stack", "tiny"]) { world in
                    for index in 0..<3 {
                        let answer = try await world.client.get(
                            "/droplets/drain-\(index)/\(small.sha256)", as: "operator")
                        #expect(answer.status == 200 && answer.body == small.bytes, "what was acknowledged is there")
                    }
                }
            }
        }

        /// Half of three droplets is sent.
        private static func beginUploads(_ droplet: Droplet, _ world: World) async throws -> [RawConnection] {
            var uploads: [RawConnection] = []
            for index in 0..<3 {
                let connection = try await RawConnection(port: world.client.port)
                let path = "/droplets/drain-\(index)/\(droplet.sha256)"
                let head = world.client.head(
                    "PUT", path, as: "operator", ["Content-Length": String(droplet.bytes.count)])
                try await connection.send(Array(head.utf8) + droplet.bytes[..<(droplet.bytes.count / 2)])
                uploads.append(connection)
            }
            try await waitUntil("the uploads to begin") { world.store.unfinished().count >= uploads.count }
            return uploads
        }

        /// The beginning of a droplet and of its layer is read; the rest does not fit into the system's buffers.
        private static func beginDownloads(
            _ droplet: Droplet, _ world: World
        ) async throws -> [(RawConnection, [UInt8])] {
            var downloads: [(RawConnection, [UInt8])] = []
            for _ in 0..<2 {
                let connection = try await RawConnection(port: world.client.port)
                let path = "/droplets/large/\(droplet.sha256)"
                try await connection.send(world.client.head("GET", path, as: "operator", [:]))
                downloads.append((connection, try await connection.receive()))
            }
            return downloads
        }

        @Test("Connections that come in at that very moment do not bring it down")
        func crowd() async throws {
            for _ in 0..<6 {
                try await withTemporaryDirectory { directory in
                    let world = try await World(data: directory + "/data")
                    let process = world.server.process
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        let answered = Counter()
                        for _ in 0..<8 {
                            group.addTask {
                                while process.isRunning, let answer = try? await world.client.get("/healthz", as: nil) {
                                    #expect(answer.status == 200)
                                    answered.add()
                                }
                            }
                        }
                        try await waitUntil("the crowd") { answered.value > 50 }
                        process.signal(SIGTERM)
                        try await group.waitForAll()
                    }
                    let status = try await process.wait(atMost: .seconds(30))
                    #expect(status == 0, "\(world.log.suffix(30_000))")
                    if status == nil { try await world.server.kill() }
                }
            }
        }

        @Test("A transfer that does not come to an end is cut when the grace time is over")
        func cut() async throws {
            try await withTemporaryDirectory { directory in
                let world = try await World(data: directory + "/data", arguments: ["--drain-seconds", "1"])
                do {
                    let droplet = Droplet("cut", noise: 100_000)
                    let connection = try await RawConnection(port: world.client.port)
                    let path = "/droplets/cut/\(droplet.sha256)"
                    let head = world.client.head(
                        "PUT", path, as: "operator", ["Content-Length": String(droplet.bytes.count)])
                    try await connection.send(Array(head.utf8) + droplet.bytes[..<50_000])
                    try await waitUntil("the upload to begin") { world.store.unfinished() != [] }
                    let start = ContinuousClock.now
                    world.server.process.signal(SIGTERM)
                    #expect(try await world.server.process.wait(atMost: .seconds(10)) == 0)
                    #expect(ContinuousClock.now - start >= .milliseconds(900), "it had its grace time")
                    #expect(world.store.unfinished() == [])
                } catch {
                    try? await world.server.kill()
                    throw error
                }
            }
        }
    }
}
