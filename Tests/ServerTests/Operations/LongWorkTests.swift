import Foundation
import JSON
import TestSupport
import Testing

extension ServerTests {
    @Suite("Long work")
    struct LongWorkTests {
        /// What can be under way, and how it is made to last: by the rate that it asks for, by its sender, or by slow system
        /// calls of the store, of which it makes dozens.
        enum Work: String, CaseIterable, CustomTestStringConvertible {
            case gc, usage, verify, delta, `import`

            var testDescription: String { rawValue }

            var path: String {
                switch self {
                case .gc, .usage: "/api/v1/\(rawValue)"
                case .verify: "/api/v1/verify?rate=1"
                case .delta: "/api/v1/rootfs/tiny/2/delta?from=1"
                case .import: "/api/v1/rootfs/tiny/3?shell=/bin/sh"
                }
            }

            /// Which, and for how many microseconds.
            var slowCalls: (name: String, delay: Int)? {
                switch self {
                case .gc, .usage: ("getdents64", 100_000)
                case .delta: ("pread64", 3_000_000)
                case .verify, .import: nil
                }
            }
        }

        @Test(
            "SIGTERM ends a server in the middle of it, and the next one knows that it was interrupted",
            arguments: Work.allCases)
        func stopped(_ work: Work) async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                let world = try await World(data: data, arguments: ["--stack", "tiny", "--drain-seconds", "2"])
                let process = world.server.process
                do {
                    try await world.server.importTinyRootfs(version: "1")
                    try await world.server.importTinyRootfs(version: "2", promote: false)
                    // Each of their blobs lies in a folder of its own, more or less.
                    for index in 0..<(work == .gc || work == .usage ? 30 : 1) {
                        try await world.upload(Droplet("long \(index)"), guid: "long-\(index)")
                    }
                    let slow = try work.slowCalls.map { call in
                        try ChildProcess(
                            "strace",
                            [
                                "-f", "-qq", "-p", "\(process.pid)", "-o", "/dev/null", "-e", "trace=\(call.name)",
                                "-e",
                                "inject=\(call.name):delay_enter=\(call.delay)",
                            ], log: directory + "/strace")
                    }
                    defer { slow?.killGroup() }
                    if slow != nil {
                        try await waitUntil("strace to be attached") {
                            try String(contentsOfFile: "/proc/\(process.pid)/status", encoding: .utf8)
                                .contains(/TracerPid:\t[1-9]/)
                        }
                    }
                    let connection = try await RawConnection(port: world.client.port)
                    defer { connection.close() }
                    let method = work == .import ? "PUT" : "POST"
                    let length = work == .import ? "100000" : "0"
                    try await connection.send(
                        world.client.head(method, work.path, as: "operator", ["Content-Length": length]))
                    try await waitUntil("it to run") {
                        let list = try await world.client.get("/api/v1/operations", as: "operator")
                        return list.json["operations"]?.array?.contains {
                            $0["kind"]?.string == work.rawValue && $0["state"] == "running"
                        } == true
                    }
                    process.signal(SIGTERM)
                    #expect(try await process.wait(atMost: .seconds(15)) == 0, "\(world.log.suffix(5000))")
                    try world.expectNoSecrets()
                } catch {
                    try? await world.server.kill()
                    print(world.log.suffix(30_000))
                    throw error
                }
                try? await world.server.kill()
                try await World.with(data: data, ["--stack", "tiny"]) { world in
                    let list = try await world.client.get("/api/v1/operations", as: "operator")
                    let found = list.json["operations"]?.array?.first { $0["kind"]?.string == work.rawValue }
                    #expect(["interrupted", "failed"].contains(found?["state"]), "\(list.text)")
                    if work != .import { #expect(found?["state"] == "interrupted" && found?["by"] == "operator") }
                    #expect(world.store.unfinished() == [])
                }
            }
        }

        @Test("is listed, shown, followed and cancelled by the command line; a second one of its kind is refused")
        func commands() async throws {
            try await World.with { world in
                let begun = try await world.client.send(
                    "POST", "/api/v1/verify?rate=1", as: "operator", body: [])
                let id = try #require(begun.json["id"]?.string, "\(begun.text)")
                let second = try await world.client.send("POST", "/api/v1/verify", as: "operator", body: [])
                #expect(second.status == 409 && second.json["error"]?.string?.contains(id) == true, "\(second.text)")
                let refused = try await world.server.cistern(["verify"])
                #expect(refused.status == 1 && refused.errors.contains(id), "\(refused.errors)")

                let list = try await world.server.cisternSuccessfully(["operation", "list"]).output
                #expect(list.contains(id) && list.contains("running"), "\(list)")
                let shown = try await world.server.cisternSuccessfully(["operation", "show", id]).output
                #expect(shown.contains("verify") && shown.contains("operator"), "\(shown)")

                // Who follows it and has enough of that is told how to go on; the operation goes on.
                let log = world.directory + "/follow"
                let follower = try ChildProcess(
                    "cistern", ["operation", "show", "--follow", id],
                    environment: world.server.commandLineEnvironment(), log: log)
                try await waitUntil("it to follow") {
                    try String(contentsOfFile: "/proc/\(follower.pid)/status", encoding: .utf8)
                        .firstMatch(of: /SigCgt:\t([0-9a-f]+)/)
                        .flatMap { UInt64($0.output.1, radix: 16) }.map { $0 & (1 << (SIGINT - 1)) != 0 } == true
                }
                follower.signal(SIGINT)
                #expect(try await follower.wait(atMost: .seconds(10)) == 130)
                let said = try String(contentsOfFile: log, encoding: .utf8)
                #expect(said.contains("cistern operation cancel \(id)"), "\(said)")
                #expect(
                    try await world.client.get("/api/v1/operations/\(id)", as: "operator").json["state"] == "running")

                let cancelled = try await world.server.cisternSuccessfully(["operation", "cancel", id]).output
                #expect(cancelled == "verify \(id) is cancelled")
                let after = try await world.client.get("/api/v1/operations/\(id)", as: "operator").json
                #expect(after["cancelledBy"] == "operator" && after["ended"] != .null)
                let late = try await world.server.cistern(["operation", "cancel", id])
                #expect(late.status == 1 && late.errors.contains("has ended"), "\(late.errors)")
                #expect(try await world.server.cistern(["operation", "show", "x"]).status == 1)
                try await world.server.cisternSuccessfully(["verify"])
            }
        }

        @Test("An import answers when the version is there; its delta, and the promotion then, go on as its operation")
        func imported() async throws {
            try await World.with(["--stack", "tiny", "--rootfs-delta", "auto"]) { world in
                try await world.server.importTinyRootfs(version: "1")
                let file = try await Fixtures.tinyRootfs(version: "2")
                let rootfs = try [UInt8](Data(contentsOf: URL(fileURLWithPath: file)))
                let path = "/api/v1/rootfs/tiny/2?shell=/bin/sh&promote=true"
                let answer = try await world.client.send("PUT", path, as: "operator", body: rootfs)
                #expect(answer.status == 201 && answer.json["current"] == false, "\(answer.text)")
                let id = try #require(answer.json["operation"]?.string)
                let ended = try await world.client.end(of: "/api/v1/operations/\(id)")
                #expect(ended["state"] == "done" && ended["report"]?["current"] == true, "\(ended)")
                let delta = try await world.client.get("/api/v1/rootfs/tiny/2/delta?from=1", as: "operator")
                #expect(delta.status == 200)

                let again = try await world.server.cisternSuccessfully([
                    "rootfs", "import", "--stack", "tiny", "--version", "1", "--shell", "/bin/sh", "--promote",
                    try await Fixtures.tinyRootfs(version: "1"),
                ])
                #expect(again.output.contains("it is the current version of tiny"), "\(again.output)")
            }
        }

        @Test("An import that is cancelled is refused to its sender, and leaves nothing")
        func cancelledImport() async throws {
            try await World.with { world in
                let connection = try await RawConnection(port: world.client.port)
                defer { connection.close() }
                try await connection.send(
                    world.client.head(
                        "PUT", "/api/v1/rootfs/tiny/1?shell=/bin/sh", as: "operator", ["Content-Length": "1000000"]))
                let id = try await waitFor("it to run") { () -> String? in
                    let list = try await world.client.get("/api/v1/operations", as: "operator")
                    return list.json["operations"]?.array?.first?["id"]?.string
                }
                let cancelled = try await world.client.send(
                    "POST", "/api/v1/operations/\(id)/cancel", as: "operator", body: [])
                #expect(cancelled.status == 202, "\(cancelled.text)")
                let answer = try await Answer(from: connection)
                #expect(answer.status == 409 && answer.json["code"] == "cancelled", "\(answer.text)")
                #expect(try await world.client.end(of: "/api/v1/operations/\(id)")["state"] == "cancelled")
                #expect(world.store.unfinished() == [])
            }
        }
    }
}
