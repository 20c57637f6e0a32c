import Foundation
import JSON
import TestSupport
import Testing

extension ServerTests {
    /// `/stage/<guid>` with real builds on this machine, asked as the cloud controller does.
    @Suite("The staging service", .serialized, .sideBySide)
    struct StagingServiceTests {
        private static let settings = [
            "--stack", "tiny", "--staging-runner", "local", "--staging-allow-hosts", "127.0.0.1",
            "--staging-allow-http", "true", "--staging-compatible-stacks", "tiny=known",
        ]

        private static func with<Result>(_ body: (World) async throws -> Result) async throws -> Result {
            try await World.with(settings) { world in
                try await prepare(world)
                return try await body(world)
            }
        }

        /// Brings in a rootfs, an app's package and two buildpacks.
        private static func prepare(_ world: World) async throws {
            try await world.server.importTinyRootfs(version: "1")
            try await withTemporaryDirectory { directory in
                for (name, source) in [
                    ("packages/app", "fixtures/apps/static/app/public"),
                    ("buildpacks/static", "fixtures/buildpacks/static"),
                    ("buildpacks/compile", "fixtures/buildpacks/fails/compile"),
                ] {
                    let zip = "\(directory)/\(name.replacing("/", with: "-"))"
                    try await runSuccessfully(
                        "python3", ["-c", "import shutil, sys; shutil.make_archive(sys.argv[1], 'zip')", zip],
                        directory: "\(Programs.repository)/\(source)")
                    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: zip + ".zip")))
                    let answer = try await world.client.send("PUT", "/\(name)", as: "operator", body: bytes)
                    try #require(answer.status == 201, "\(answer)")
                }
            }
        }

        private static func sign(_ client: Client, _ path: String, _ verb: String) async throws -> String {
            let mark = path.contains("?") ? "&" : "?"
            let answer = try await client.get("/sign\(path)\(mark)verb=\(verb)", as: "operator")
            try #require(answer.status == 200, "\(answer)")
            return String(decoding: answer.body, as: UTF8.self)
        }

        private static func stage(
            _ world: World, _ guid: String, buildpack: String, callback: String? = nil, port: Int? = nil
        ) async throws -> Answer {
            let client = Client(port: port ?? world.client.port, passwords: world.client.passwords)
            let data: JSONValue = [
                "app_bits_download_uri": .string(try await sign(client, "/packages/app", "get")),
                "droplet_upload_uri": .string(try await sign(client, "/droplets/drop-\(guid)?stack=tiny", "put")),
                "buildpacks": [
                    [
                        "name": .string(buildpack), "key": .string(buildpack), "skip_detect": true,
                        "url": .string(try await sign(client, "/buildpacks/\(buildpack)", "get")),
                    ]
                ],
            ]
            var request: [String: JSONValue] = [
                "app_guid": "app", "space_guid": "space", "memory_mb": 256, "disk_mb": 128,
                "environment": [["name": "GREETING", "value": "hello"]],
                "lifecycle": ["buildpack_lifecycle": data],
            ]
            request["completion_callback"] = callback.map { .string($0) }
            return try await world.client.send(
                "POST", "/stage/\(guid)", as: "operator", ["Content-Type": "application/json"],
                body: JSONValue.object(request).canonicalBytes)
        }

        private static func end(_ world: World, _ guid: String) async throws -> JSONValue {
            try await waitFor("\(guid) to end", within: .seconds(60)) {
                let task = try await world.client.get("/stage/\(guid)", as: "operator").json
                return ["queued", "running"].contains(task["state"]?.string) ? nil : task
            }
        }

        @Test("Apps are staged, failures are told in the controller's words, and the next task runs")
        func stages() async throws {
            try await Self.with { world in
                try await ScriptedServer.with({ _, _, connection in connection.answer(200) }) { controller in
                    let callback = "http://cc:a%20secret%20word@127.0.0.1:\(controller.port)/done"
                    #expect(try await Self.stage(world, "bad", buildpack: "compile", callback: callback).status == 202)
                    #expect(try await Self.stage(world, "good", buildpack: "static", callback: callback).status == 202)
                    let (bad, good) = (try await Self.end(world, "bad"), try await Self.end(world, "good"))
                    #expect(bad["state"] == "failed" && bad["failure"]?["id"] == "BuildpackCompileFailed", "\(bad)")
                    #expect(bad["failure"]?["phase"] == "compile" && bad["failure"]?["exit_code"] == 7, "\(bad)")
                    try #require(good["state"] == "staged", "\(good)")
                    let hash = try #require(good["droplet"]?["digest"]?.string).replacing("sha256:", with: "")
                    let image = try await world.client.get("/v2/cloudfoundry/drop-good/manifests/\(hash)")
                    #expect(image.status == 200)
                    try await waitUntil("both are told") { controller.requests.count == 2 }
                    let bodies = try controller.requests.map { try JSONValue(parsing: $0.body) }
                    #expect(bodies.contains { $0["error"]?["id"] == "BuildpackCompileFailed" })
                    #expect(bodies.contains { $0["result"]?["process_types"]?["web"] != nil }, "\(bodies)")

                    let log = try await world.client.get("/stage/good/log", as: "operator")
                    let text = String(decoding: log.body, as: UTF8.self)
                    #expect(text.contains("-----> Upload: done in") && !text.contains("signature="), "\(text)")
                    #expect(!world.log.contains("secret word") && !world.log.contains("secret%20word"))
                    #expect(!world.log.contains("signature="))
                }
            }
        }

        @Test("Buildpacks see a stack by the name that they know, and those that are for that name detect")
        func compatibleStack() async throws {
            try await Self.with { world in
                let says = "#!/bin/sh\necho \"for $CF_STACK\"\n"
                let zip = try TestZip.bytes(
                    [
                        "manifest.yml": "stack: known\n", "bin/detect": says, "bin/compile": says,
                        "bin/release": "#!/bin/sh\necho 'default_process_types: {web: sleep 1}'\n",
                    ], mode: 0o755)
                let answer = try await world.client.send("PUT", "/buildpacks/knows", as: "operator", body: zip)
                try #require(answer.status == 201, "\(answer)")
                for other in ["compile", "static"] {
                    _ = try await world.client.send("DELETE", "/buildpacks/\(other)", as: "operator")
                }
                #expect(try await Self.stage(world, "known", buildpack: "knows").status == 202)
                #expect(try await Self.end(world, "known")["state"] == "staged")
                let log = try await world.client.get("/stage/known/log", as: "operator")
                #expect(String(decoding: log.body, as: UTF8.self).contains("\nfor known\n"))

                try await withTemporaryDirectory { directory in
                    let app = "\(Programs.repository)/fixtures/apps/static/app/public"
                    let staged = try await world.server.cistern(
                        ["stage", app, "--stack", "tiny", "--cache", directory + "/cache", "--guid", "known"])
                    #expect(staged.status == 0 && staged.errors.contains("\nfor known\n"), "\(staged.errors)")
                }
            }
        }

        @Test("Killed at any moment, each task has one outcome, and nothing of it is left", arguments: 0..<3)
        func killed(round: Int) async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                var started = 0
                try await World.with(data: data, Self.settings) { try await Self.prepare($0) }
                // A port that stays, so that the tasks' URLs lead to the next server as well.
                let port = try freePort()
                let arguments = Self.settings + ["--plain-listen", "127.0.0.1:\(port)"]
                let world = try await World(data: data, arguments: arguments)
                for number in 0..<4 {
                    let answer = try await Self.stage(world, "t\(number)", buildpack: "static", port: port)
                    if answer.status == 202 { started += 1 }
                }
                try await Task.sleep(for: .milliseconds(Int.random(in: 0...1200)))
                try await world.server.kill()
                try await World.with(data: data, arguments) { world in
                    var states: [String] = []
                    for number in 0..<started {
                        states.append(try await Self.end(world, "t\(number)")["state"]?.string ?? "none")
                    }
                    #expect(states == Array(repeating: "staged", count: started), "\(states)")
                    let left = try FileManager.default.contentsOfDirectory(atPath: data + "/staging/tasks")
                    #expect(left.isEmpty, "\(left)")
                }
            }
        }

        @Test("Where it is off, it says what to set")
        func off() async throws {
            try await World.with { world in
                for (method, path) in [("POST", "/stage/x"), ("GET", "/stage/x"), ("DELETE", "/stage/x")] {
                    let answer = try await world.client.send(method, path, as: "operator", body: Array("{}".utf8))
                    #expect(answer.status == 501, "\(method)")
                    #expect(answer.json["message"]?.string?.contains("staging.runner") == true, "\(answer)")
                }
            }
        }
    }
}
