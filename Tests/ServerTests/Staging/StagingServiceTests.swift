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
            "--staging-allow-http", "true", "--staging-tasks", "1", "--staging-compatible-stacks", "tiny=known",
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
            _ world: World, _ guid: String, buildpack: String?, callback: String? = nil, port: Int? = nil,
            app: String? = nil, droplet: String? = nil
        ) async throws -> Answer {
            let client = Client(port: port ?? world.client.port, passwords: world.client.passwords)
            let ownApp = try await sign(client, "/packages/app", "get")
            let ownDroplet = try await sign(client, "/droplets/drop-\(guid)?stack=tiny", "put")
            var data: JSONObject = [
                "app_bits_download_uri": .string(app ?? ownApp), "droplet_upload_uri": .string(droplet ?? ownDroplet),
            ]
            if let buildpack {
                data["buildpacks"] = [
                    [
                        "name": .string(buildpack), "key": .string(buildpack), "skip_detect": true,
                        "url": .string(try await sign(client, "/buildpacks/\(buildpack)", "get")),
                    ]
                ]
            }
            var request: JSONObject = [
                "app_guid": "app", "space_guid": "space", "memory_mb": 256, "disk_mb": 128,
                "environment": [["name": "GREETING", "value": "hello"]],
                "lifecycle": ["buildpack_lifecycle": .object(data)],
            ]
            request["completion_callback"] = callback.map { .string($0) }
            return try await world.client.send(
                "POST", "/stage/\(guid)", as: "operator", ["Content-Type": "application/json"],
                body: JSONValue.object(request).canonicalBytes)
        }

        /// Installs a buildpack that does not end.
        private static func hangingBuildpack(_ world: World) async throws -> String {
            try await withTemporaryDirectory { directory in
                try FileManager.default.createDirectory(
                    atPath: directory + "/pack/bin", withIntermediateDirectories: true)
                let compile = directory + "/pack/bin/compile"
                try Data("#!/bin/sh\nsleep 1000\n".utf8).write(to: URL(fileURLWithPath: compile))
                chmod(compile, 0o755)
                try await runSuccessfully(
                    "python3", ["-c", "import shutil; shutil.make_archive('../hanging', 'zip')"],
                    directory: directory + "/pack")
                let upload = try await world.server.cistern(["buildpack", "upload", directory + "/hanging.zip"])
                try #require(upload.status == 0, "\(upload)")
                return "hanging"
            }
        }

        private static func end(_ world: World, _ guid: String) async throws -> JSONValue {
            try await waitFor("\(guid) to end") {
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

        @Test("Without buildpacks in the request those that are installed for the stack detect, in their order")
        func installed() async throws {
            try await Self.with { world in
                // `static` detects an app with an index.html; `compile`, which would fail, comes later.
                for (name, query) in [("static", "position=1"), ("compile", "position=2"), ("other", "stack=other")] {
                    let bits = try await world.client.get(
                        "/buildpacks/\(name == "other" ? "compile" : name)", as: "operator")
                    let answer = try await world.client.send(
                        "PUT", "/buildpacks/\(name)?\(query)", as: "operator", body: bits.body)
                    try #require(answer.status == 201, "\(answer)")
                }
                #expect(try await Self.stage(world, "detected", buildpack: nil).status == 202)
                let task = try await Self.end(world, "detected")
                #expect(task["state"] == "staged", "\(task)")
                let metadata = task["result"]?["lifecycle_metadata"]
                #expect(metadata?["buildpack_key"] == "static", "\(task)")
                // Which archive it was is known as well as for one that was fetched.
                let hash = try #require(task["droplet"]?["digest"]?.string).replacing("sha256:", with: "")
                let droplet = try await world.client.get("/api/v1/droplets/drop-detected/\(hash)", as: "operator")
                let archive = try await world.client.get("/buildpacks/static/metadata", as: "operator").json["sha256"]
                let source = droplet.json["buildpacks"]?.array?.first?["source"]?.string
                #expect(source == "sha256:\(archive?.string ?? "")", "\(droplet)")
            }
        }

        @Test("Tasks are operations: an operator sees what waits, runs and has ended, and cancels it")
        func operations() async throws {
            try await Self.with { world in
                // One task runs at a time, and the second one waits for it.
                let hanging = try await Self.hangingBuildpack(world)
                for guid in ["first", "second"] {
                    #expect(try await Self.stage(world, guid, buildpack: hanging).status == 202)
                }
                try await waitUntil("the first runs") {
                    try await world.client.get("/stage/first", as: "operator").json["state"] == "running"
                }
                let list = try await world.server.cistern(["operation", "list"])
                let lines = list.output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
                #expect(lines.first { $0.first == "first" }?.prefix(3) == ["first", "staging", "running"], "\(list)")
                #expect(lines.first { $0.first == "second" }?.prefix(3) == ["second", "staging", "queued"], "\(list)")
                for guid in ["second", "first"] {
                    let cancelled = try await world.server.cistern(["operation", "cancel", guid])
                    #expect(cancelled.output == "staging \(guid) is cancelled", "\(cancelled)")
                }
                let again = try await world.server.cistern(["operation", "cancel", "first"])
                #expect(again.status == 1 && again.errors.contains("operation first has ended"), "\(again)")
                #expect(try await Self.stage(world, "third", buildpack: "compile").status == 202)
                _ = try await Self.end(world, "third")
                let shown = try await world.server.cistern(["operation", "show", "third"])
                #expect(shown.output.contains("failed") && shown.output.contains("failure"), "\(shown)")
            }
        }

        @Test("A step that runs elsewhere reports the outcome by a URL that is signed for that task alone")
        func completed() async throws {
            try await Self.with { world in
                let hanging = try await Self.hangingBuildpack(world)
                for guid in ["mine", "other"] {
                    #expect(try await Self.stage(world, guid, buildpack: hanging).status == 202)
                }
                let url = try #require(URL(string: try await Self.sign(world.client, "/stage/mine/completed", "put")))
                let path = url.path + "?" + (url.query(percentEncoded: true) ?? "")
                func report(_ path: String, _ reason: String, _ guid: String = "mine") async throws -> Answer {
                    let body: JSONValue = [
                        "task_guid": .string(guid), "failed": true, "failure_reason": .string(reason), "result": "",
                        "annotation": "{}", "created_at": 1,
                    ]
                    return try await world.client.send("PUT", path, as: nil, body: body.canonicalBytes)
                }
                #expect(try await report("/stage/mine/completed", "x").status == 401)
                #expect(try await report(path.replacing("mine", with: "other"), "x").status == 403)
                #expect(try await report(path, "x", "other").status == 400)
                let told = try await report(path, "the build ended with exit code 223")
                #expect(told.status == 200, "\(told)")
                // The same again: its answer may have been lost. Another outcome: the first one stays.
                #expect(try await report(path, "the build ended with exit code 223").status == 200)
                #expect(try await report(path, "something else").status == 409)
                let task = try await Self.end(world, "mine")
                #expect(task["failure"]?["id"] == "BuildpackCompileFailed", "\(task)")
                #expect(try await world.client.send("DELETE", "/stage/other", as: "operator").status == 204)
                // What ran here for it has ended, so that the next one has its turn.
                #expect(try await Self.stage(world, "next", buildpack: "static").status == 202)
                #expect(try await Self.end(world, "next")["state"] == "staged")
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
                // It is the only one, and the request names none.
                #expect(try await Self.stage(world, "known", buildpack: nil).status == 202)
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

        @Test(
            "A step that is killed fails its task, which says so; nothing of it is left, and the next task runs",
            arguments: ["download", "build", "upload"])
        func stepKilled(step: String) async throws {
            try await Self.with { world in
                try await ScriptedServer.with({ _, _, connection in connection.stall() }) { server in
                    // Each step waits for something that does not come.
                    let stalled = "http://127.0.0.1:\(server.port)/droplets/x"
                    let buildpack = step == "build" ? try await Self.hangingBuildpack(world) : "static"
                    let answer = try await Self.stage(
                        world, "killed", buildpack: buildpack, app: step == "download" ? stalled : nil,
                        droplet: step == "upload" ? stalled : nil)
                    #expect(answer.status == 202)
                    let program = step == "build" ? "/lifecycle/lib/ld.so" : "/stage-\(step)"
                    let process = try await waitFor("the step runs") {
                        Self.descendants(of: world.server.process.pid).first { $0.program.hasSuffix(program) }
                    }
                    try await Task.sleep(for: .milliseconds(Int.random(in: 0...300)))
                    kill(process.number, SIGKILL)
                    let task = try await Self.end(world, "killed")
                    #expect(task["state"] == "failed" && task["failure"]?["phase"]?.string == step, "\(task)")
                    #expect(task["failure"]?["message"]?.string == "the \(step) was ended by signal 9", "\(task)")
                    #expect(try await Self.stage(world, "next", buildpack: "static").status == 202)
                    #expect(try await Self.end(world, "next")["state"] == "staged")
                    let left = try FileManager.default.contentsOfDirectory(atPath: world.directory + "/staging/tasks")
                    #expect(left.isEmpty, "\(left)")
                    #expect(Self.descendants(of: world.server.process.pid).isEmpty)
                }
            }
        }

        /// The processes that a process has begun, and those that these have begun.
        private static func descendants(of parent: Int32) -> [(number: Int32, program: String)] {
            var parents: [Int32: Int32] = [:]
            var programs: [Int32: String] = [:]
            for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {
                guard let number = Int32(name),
                    let status = try? String(contentsOfFile: "/proc/\(name)/stat", encoding: .utf8),
                    let line = try? String(contentsOfFile: "/proc/\(name)/cmdline", encoding: .utf8),
                    // pid (name) state parent
                    let rest = status.split(separator: ")").last?.split(separator: " "), rest.count > 1
                else { continue }
                parents[number] = Int32(rest[1])
                programs[number] = line.split(separator: "\0").first.map(String.init) ?? ""
            }
            func isBelow(_ number: Int32, depth: Int = 0) -> Bool {
                guard let above = parents[number], depth < 32 else { return false }
                return above == parent || isBelow(above, depth: depth + 1)
            }
            return programs.filter { isBelow($0.key) }.map { ($0.key, $0.value) }
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
