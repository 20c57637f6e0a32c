import Foundation
import JSON
import OCI
import Staging
import TestSupport
import Testing

@Suite("stage-upload")
struct UploadStepTests {
    private static let droplet = DownloadTests.content
    private static let list = BuildpackList([
        .init(
            key: "ruby", name: "ruby_buildpack", skipsDetect: false, directory: "d", source: Digest.of([]).description)
    ])
    private static let result: JSONValue = [
        "lifecycle_metadata": [
            "buildpack_key": "ruby", "detected_buildpack": "Ruby",
            "buildpacks": [["key": "ruby", "name": "ruby", "version": "1.0"], ["key": "forged", "name": "x"]],
        ],
        "process_types": ["web": "run"], "execution_metadata": "", "lifecycle_type": "buildpack",
        "sidecars": [["name": "s", "process_types": ["web"], "command": "c"]], "unknown": "dropped",
    ]

    /// Gives a world in which a build has left a droplet and a result.
    private static func with(
        cache: Bool = true, _ handler: @escaping ScriptedServer.Handler,
        _ body: (StepWorld, ScriptedServer) async throws -> Void
    ) async throws {
        try await StepWorld.with { world in
            try FileManager.default.createDirectory(atPath: world.buildpacks, withIntermediateDirectories: false)
            try world.write(list.json.canonicalBytes, "buildpacks/config.json")
            try world.write(droplet, "out/droplet.tgz")
            try world.write(result.canonicalBytes, "out/result.json")
            if cache { try world.write(Array("cache".utf8), "out/cache.tgz") }
            try await ScriptedServer.with(handler) { server in try await body(world, server) }
        }
    }

    private static func task(_ server: ScriptedServer, _ more: JSONObject = [:]) -> JSONValue {
        let members: JSONObject = [
            "DROPLET_UPLOAD_URL": .string("http://u:secret@\(server.address)/droplets/g"),
            "BUILDPACK_CACHE_UPLOAD_URI": .string("http://\(server.address)/cache?signature=secret"),
            "STAGING_GUID": "task-1", "EIRINI_ADDRESS": .string("http://\(server.address)"),
            "COMPLETION_CALLBACK": .string("http://c:callback@\(server.address)/callback"),
        ]
        return .object(members.merging(more) { _, new in new }.filter { $0.value != .null })
    }

    @Test("sends droplet and cache, and then reports the result as the predecessor did")
    func all() async throws {
        try await Self.with({ _, _, connection in connection.answer(200) }) { world, server in
            let before = Int64(Date().timeIntervalSince1970) * 1_000_000_000
            let result = try await world.upload(Self.task(server))
            try #require(result.status == 0, "\(result.errors)")
            let requests = server.requests
            #expect(requests.map(\.method) == ["PUT", "PUT", "PUT"])
            #expect(requests.map(\.target) == ["/droplets/g", "/cache?signature=secret", "/stage/task-1/completed"])
            #expect(requests[0].body == Self.droplet)
            #expect(requests[1].body == Array("cache".utf8))
            // The build says which buildpacks ran; what they were called and what they came from, download says.
            #expect(
                requests.map { $0.header("Cistern-Buildpacks") } == [
                    #"[{"name":"ruby_buildpack","source":"\#(Digest.of([]))","version":"1.0"}]"#, nil, nil,
                ])
            let report = try JSONValue(parsing: requests[2].body)
            #expect(report["task_guid"] == "task-1")
            #expect(report["failed"] == false)
            #expect((report["created_at"]?.integer ?? 0) >= before)
            let annotation = try JSONValue(parsing: report["annotation"]?.string ?? "")
            #expect(annotation["completion_callback"]?.string == "http://c:callback@\(server.address)/callback")
            // Buildpacks are what download wrote down: the build can't add one.
            #expect(report["buildpacks"] == Self.list.json)
            let told = try JSONValue(parsing: report["result"]?.string ?? "")
            #expect(
                told == [
                    "lifecycle_metadata": [
                        "buildpack_key": "ruby", "detected_buildpack": "Ruby",
                        "buildpacks": [["key": "ruby", "name": "ruby", "version": "1.0"]],
                    ],
                    "process_types": ["web": "run"], "execution_metadata": "", "lifecycle_type": "buildpack",
                    "sidecars": [["name": "s", "process_types": ["web"], "command": "c"]],
                ])
            #expect(!(result.output + result.errors).contains("secret"))
            #expect(!(result.output + result.errors).contains("callback@"))
        }
    }

    @Test("reports to the controller itself where nobody stands between")
    func callback() async throws {
        try await Self.with({ _, _, connection in connection.answer(200) }) { world, server in
            let result = try await world.upload(
                Self.task(server, ["EIRINI_ADDRESS": .null]), StepWorld.local + ["--form", "post"])
            #expect(result.status == 0)
            #expect(server.requests.map(\.method) == ["POST", "POST", "POST"])
            let last = try #require(server.requests.last)
            #expect(last.target == "/callback")
            #expect(last.header("Authorization") == basic("c", "callback"))
            #expect(try JSONValue(parsing: last.body)["result"]?["process_types"] == ["web": "run"])
        }
    }

    @Test("a report that comes after the final state has been delivered before")
    func alreadyFinal() async throws {
        try await Self.with({ request, _, connection in
            if request.target.hasPrefix("/stage/") {
                connection.answer(422, [], Array(#"{"code":10008,"error_code":"CF-InvalidRequest"}"#.utf8))
            } else {
                connection.answer(200)
            }
        }) { world, server in
            let result = try await world.upload(Self.task(server))
            #expect(result.status == 0)
            #expect(server.requests.count == 3)
        }
    }

    @Test("a cache that can't be sent fails nothing", arguments: ["refused", "missing", "link", "forbidden"])
    func caches(fault: String) async throws {
        try await Self.with(
            cache: fault != "missing",
            { request, _, connection in
                connection.answer(request.target.hasPrefix("/cache") ? 403 : 200)
            }
        ) { world, server in
            if fault == "link" {
                unlink(world.output + "/cache.tgz")
                symlink("/etc/passwd", world.output + "/cache.tgz")
            }
            let uri = fault == "forbidden" ? "http://169.254.169.254/x" : "http://\(server.address)/cache"
            let result = try await world.upload(Self.task(server, ["BUILDPACK_CACHE_UPLOAD_URI": .string(uri)]))
            #expect(result.status == 0, "\(result.errors)")
            #expect(server.requests.last?.target == "/stage/task-1/completed")
            #expect(try JSONValue(parsing: server.requests.last?.body ?? [])["failed"] == false)
        }
    }

    @Test(
        "a droplet or a result that can't be sent is reported as the task's failure",
        arguments: ["no droplet", "link", "refused", "no result", "result", "large result", "deep result", "no list"])
    func failures(fault: String) async throws {
        try await Self.with({ request, _, connection in
            connection.answer(request.target.hasPrefix("/droplets") && fault == "refused" ? 422 : 200)
        }) { world, server in
            switch fault {
            case "no droplet": unlink(world.output + "/droplet.tgz")
            case "link":
                unlink(world.output + "/droplet.tgz")
                symlink("/etc/passwd", world.output + "/droplet.tgz")
            case "no result": unlink(world.output + "/result.json")
            case "result": try world.write(Array(#"{"process_types":{"web":1}}"#.utf8), "out/result.json")
            case "large result": try world.write([UInt8](repeating: 32, count: 2 << 20), "out/result.json")
            case "deep result":
                try world.write([UInt8](repeating: UInt8(ascii: "["), count: 500_000), "out/result.json")
            case "no list": unlink(world.buildpacks + "/config.json")
            default: break
            }
            let result = try await world.upload(Self.task(server))
            #expect(result.status == 1 || fault == "no list")
            #expect(result.status != 0)
            #expect(!server.requests.contains { $0.target.hasPrefix("/cache") })
            #expect(server.requests.contains { $0.target.hasPrefix("/droplets") } == (fault == "refused"))
            let report = try JSONValue(parsing: server.requests.last?.body ?? [])
            #expect(report["failed"] == true)
            #expect(report["failure_reason"]?.string?.isEmpty == false)
            let text = report.canonicalText
            #expect(!text.contains("secret"))
        }
    }

    @Test("a droplet that is on its way goes again after the step was killed")
    func killed() async throws {
        try await Self.with({ request, number, connection in
            if number == 0 { connection.stall() } else { connection.answer(201) }
        }) { world, server in
            try world.write(task: Self.task(server))
            let step = try ChildProcess("stage-upload", world.uploadArguments(), log: world.directory + "/log")
            try await waitUntil("the upload") { server.requests.count == 1 }
            step.killGroup()
            _ = try await step.wait(atMost: .seconds(60))
            #expect(try await world.upload(Self.task(server)).status == 0)
            #expect(server.requests.prefix(2).allSatisfy { $0.body == Self.droplet })
        }
    }

    @Test("Cistern takes a droplet from it over TLS, twice, and gives it back")
    func cistern() async throws {
        let sample = try await Fixtures.sample("static")
        try await StepWorld.with { world in
            let server = try await RunningServer(data: world.directory + "/data")
            defer { server.process.killGroup() }
            let tiny = try await Fixtures.tinyRootfs()
            _ = try await server.cistern([
                "rootfs", "import", "--stack", "tiny", "--version", "1", "--shell", "/bin/sh", tiny, "--promote",
            ])
            try FileManager.default.createDirectory(atPath: world.buildpacks, withIntermediateDirectories: false)
            try world.write(Self.list.json.canonicalBytes, "buildpacks/config.json")
            try FileManager.default.copyItem(atPath: sample, toPath: world.output + "/droplet.tgz")
            try world.write(Self.result.canonicalBytes, "out/result.json")
            let host = server.address
            let task: JSONValue = [
                "DROPLET_UPLOAD_URL": .string(
                    "https://operator:\(try server.password(of: .operator))@\(host)/droplets/g?stack=tiny")
            ]
            let arguments = ["--allow-host", host]
            let untrusted = try await world.upload(task, arguments)
            #expect(untrusted.status == 1)
            #expect(untrusted.errors.contains("--ca"), "\(untrusted.errors)")
            for _ in 0..<2 {
                let result = try await world.upload(task, arguments + ["--ca", server.certificateAuthority])
                #expect(result.status == 0, "\(result.errors)")
            }
            let answer = try await run(
                "curl",
                [
                    "-sf", "--cacert", server.certificateAuthority, "-u",
                    "operator:\(try server.password(of: .operator))",
                    "https://\(host)/droplets/g/\(Digest.of(try #require(world.read(sample))).hex)", "-o",
                    world.directory + "/back",
                ])
            #expect(answer.status == 0)
            #expect(world.read(world.directory + "/back") == world.read(sample))
        }
    }
}
