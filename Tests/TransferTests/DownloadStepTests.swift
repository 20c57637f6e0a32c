import Foundation
import JSON
import OCI
import Staging
import TestSupport
import Testing

@Suite("stage-download")
struct DownloadStepTests {
    private static let app = ["index.html": "hello"]
    private static let detect = "#!/bin/sh\nexit 0\n"

    @Test("fetches app, cache and buildpacks of every kind, and writes down what they were")
    func everything() async throws {
        try await StepWorld.with { world in
            let app = try await world.zip(Self.app, "app")
            let zipped = try await world.zip(["bin/detect": Self.detect, "VERSION": "zip"], "pack")
            let tar = TestTar([
                .directory("./bin"), .program("./bin/detect", Array(Self.detect.utf8)), .file("./VERSION", "tar"),
                .symbolicLink("./bin/supply", to: "detect"),
            ])
            try world.write(tar.bytes, "pack.tar")
            try await runSuccessfully("gzip", [world.directory + "/pack.tar"])
            let tgz = try #require(world.read(world.directory + "/pack.tar.gz"))
            _ = try await world.repository(["inner.txt": "inner"], "inner")
            let repository = try await world.repository(["bin/detect": Self.detect])
            let local = world.directory + "/local"
            try FileManager.default.createDirectory(atPath: local + "/bin", withIntermediateDirectories: true)
            try Self.detect.write(toFile: local + "/bin/detect", atomically: true, encoding: .utf8)
            let cache = Array("a cache".utf8)

            let files = ["/app": app, "/pack.zip": zipped, "/pack": tgz, "/cache": cache]
            try await ScriptedServer.with({ request, _, connection in
                if let bytes = files[request.target] {
                    connection.answer(200, [], bytes)
                } else if request.header("Authorization") != basic("u") {
                    connection.answer(401, ["WWW-Authenticate: Basic realm=\"x\""])
                } else {
                    await world.serveGit(request, connection)
                }
            }) { server in
                try await world.git(
                    ["submodule", "--quiet", "add", "../inner", "sub"], in: repository)
                try await world.git(
                    ["config", "-f", ".gitmodules", "submodule.sub.url", "../../inner/.git"], in: repository)
                try await world.git(["add", "--all"], in: repository)
                try await world.git(["commit", "--quiet", "--message=three"], in: repository)
                let base = "http://\(server.address)"
                let gitURL = "http://u:secret@\(server.address)/repository/.git#v1"
                let mainURL = "http://u:secret@\(server.address)/repository/.git"
                let commit = try await world.git(["rev-parse", "v1"], in: repository)
                let head = try await world.git(["rev-parse", "main"], in: repository)
                let task: JSONValue = [
                    "DOWNLOAD_URL": .string(base + "/app"), "BUILDPACK_CACHE_DOWNLOAD_URI": .string(base + "/cache"),
                    "BUILDPACK_CACHE_CHECKSUM": .string(Digest.of(cache).hex),
                    "BUILDPACK_CACHE_CHECKSUM_ALGORITHM": "sha256",
                    "BUILDPACKS": [
                        [
                            "name": "zip", "key": "zip-key", "url": .string(base + "/pack.zip"), "skip_detect": true,
                            "sha256": .string(Digest.of(zipped).hex),
                        ],
                        ["name": "custom", "key": .string(base + "/pack"), "url": .string(base + "/pack")],
                        ["name": "custom", "key": .string(gitURL), "url": .string(gitURL)],
                        ["name": "custom", "key": .string(mainURL), "url": .string(mainURL)],
                        ["name": "local", "key": "local-key", "url": .string(local)],
                    ],
                ]
                let result = try await world.download(task, StepWorld.local + ["--allow-files"])
                try #require(result.status == 0, "\(result.output)\n\(result.errors)")
                #expect(world.read(world.workspace + "/app.zip") == app)
                #expect(world.read(world.workspace + "/cache.tgz") == cache)
                let json = try #require(try world.list())
                let list = try #require(BuildpackList(json: json)?.buildpacks)
                let maskedURL = "\(base)/repository/.git#v1"
                #expect(
                    list.map(\.key) == ["zip-key", base + "/pack", maskedURL, base + "/repository/.git", "local-key"])
                #expect(list.map(\.name) == ["zip", "custom", "custom", "custom", "local"])
                #expect(list.map(\.skipsDetect) == [true, false, false, false, false])
                #expect(list.map(\.directory) == list.map { XXH64.directoryName(of: $0.key) })
                #expect(
                    list.map(\.source)
                        == [
                            Digest.of(zipped).description, Digest.of(tgz).description, "git:\(commit)", "git:\(head)",
                            "",
                        ])
                for (buildpack, version) in zip(list, ["zip", "tar", nil, "second", nil]) {
                    let path = "\(world.buildpacks)/\(buildpack.directory)"
                    #expect(
                        FileManager.default.isExecutableFile(atPath: path + "/bin/detect") || buildpack.name == "local")
                    #expect(world.read(path + "/VERSION").map { String(decoding: $0, as: UTF8.self) } == version)
                }
                #expect(world.read("\(world.buildpacks)/\(list[3].directory)/sub/inner.txt") != nil)

                // The password went to the server, and nowhere else: not into a file, not into a line.
                let found = try await run("grep", ["-rl", "secret", world.buildpacks, world.workspace])
                #expect(found.output == "", "in files")
                #expect(!(result.output + result.errors).contains("secret"))
                #expect(try FileManager.default.contentsOfDirectory(atPath: world.buildpacks).count == 6)
            }
        }
    }

    @Test(
        "a cache that is not there, or not right, is no failure",
        arguments: ["missing", "broken", "checksum", "forbidden", "malformed"])
    func caches(fault: String) async throws {
        try await StepWorld.with { world in
            let app = try await world.zip(Self.app, "app")
            let pack = try await world.zip(["bin/detect": Self.detect], "pack")
            try await ScriptedServer.with({ request, _, connection in
                switch request.target {
                case "/app": connection.answer(200, [], app)
                case "/pack": connection.answer(200, [], pack)
                case "/cache" where fault == "checksum": connection.answer(200, [], [1, 2, 3])
                case "/cache" where fault == "broken": connection.answer(400)
                default: connection.answer(404)
                }
            }) { server in
                let base = "http://\(server.address)"
                let uri =
                    ["forbidden": "http://169.254.169.254/cache", "malformed": "no URL"][fault] ?? base + "/cache"
                try FileManager.default.createDirectory(atPath: world.workspace, withIntermediateDirectories: true)
                try world.write([9], "workspace/cache.tgz")
                let result = try await world.download([
                    "DOWNLOAD_URL": .string(base + "/app"), "BUILDPACK_CACHE_DOWNLOAD_URI": .string(uri),
                    "BUILDPACK_CACHE_CHECKSUM": .string(String(repeating: "0", count: 64)),
                    "BUILDPACKS": [["name": "a", "key": "k", "url": .string(base + "/pack")]],
                ])
                #expect(result.status == 0, "\(result.errors)")
                #expect(world.names(in: world.workspace) == ["app.zip"])
                #expect(result.output.contains(fault == "missing" ? "there is none" : "warning: going on without"))
            }
        }
    }

    @Test(
        "says what failed and leaves no list behind",
        arguments: [
            (["BUILDPACKS": .null], 2, "DOWNLOAD_URL"), (["DOWNLOAD_URL": "/app"], 2, "BUILDPACKS"),
            (["DOWNLOAD_URL": "/app", "BUILDPACKS": []], 2, "BUILDPACKS"),
            (["DOWNLOAD_URL": "/app", "BUILDPACKS": [["name": "x"]]], 2, "has no url"),
            (
                ["DOWNLOAD_URL": "/app", "BUILDPACKS": [["url": "http://x/", "sha256": "12"]]], 2,
                "64 hexadecimal digits"
            ),
            (["DOWNLOAD_URL": "/nothing", "BUILDPACKS": [["url": "http://x/"]]], 1, "404"),
            (["DOWNLOAD_URL": "/text", "BUILDPACKS": [["url": "http://x/"]]], 1, "is no zip"),
            (["DOWNLOAD_URL": "/app", "BUILDPACKS": [["url": "http://169.254.169.254/x"]]], 1, "link-local"),
            (["DOWNLOAD_URL": "/app", "BUILDPACKS": [["url": "https://[::1]/x.git#v1"]]], 1, "loopback"),
            (["DOWNLOAD_URL": "/app", "BUILDPACKS": [["url": "ssh://127.0.0.2/x.git"]]], 1, "loopback"),
            (["DOWNLOAD_URL": "/app", "BUILDPACKS": [["url": "ext::sh -c id"]]], 1, "URL"),
            (["DOWNLOAD_URL": "/app", "BUILDPACKS": [["url": "https://x/y.git#--upload-pack=id"]]], 1, "branch"),
            (["DOWNLOAD_URL": "/app", "BUILDPACKS": [["url": "file:///etc"]]], 1, "--allow-files"),
            (["DOWNLOAD_URL": "/app", "BUILDPACKS": [["url": "/etc"]]], 1, "--allow-files"),
        ] as [(JSONValue, Int32, String)])
    func failures(task: JSONValue, status: Int32, said: String) async throws {
        try await StepWorld.with { world in
            let app = try await world.zip(Self.app, "app")
            try await ScriptedServer.with(files: ["/app": app, "/text": Array("text".utf8)]) { server in
                var members = try #require(task.object)
                if let path = members["DOWNLOAD_URL"]?.string {
                    members["DOWNLOAD_URL"] = .string("http://u:secret@\(server.address)\(path)")
                }
                try FileManager.default.createDirectory(atPath: world.buildpacks, withIntermediateDirectories: true)
                try world.write(Array("[]".utf8), "buildpacks/config.json")
                let result = try await world.download(.object(members))
                #expect(result.status == status)
                #expect(result.errors.contains(said), "\(result.errors)")
                #expect(!(result.errors + result.output).contains("secret"))
                if status == 1 { #expect(try world.list() == nil) }
            }
        }
    }

    @Test(
        "takes its variables from the environment, from a file or from standard input",
        arguments: ["environment", "file", "-"])
    func variables(place: String) async throws {
        try await StepWorld.with { world in
            let app = try await world.zip(Self.app, "app")
            try await ScriptedServer.with(files: ["/app": app, "/pack": app]) { server in
                let base = "http://\(server.address)"
                let list: JSONValue = [["key": "k", "url": .string(base + "/pack")]]
                let members: [String: JSONValue] = [
                    "DOWNLOAD_URL": .string(base + "/app"), "BUILDPACKS": .string(list.canonicalText),
                    "EIRINI_BUILDPACKS_DIR": .string(world.buildpacks),
                    "EIRINI_WORKSPACE_DIR": .string(world.workspace),
                ]
                try world.write(task: .object(JSONObject(members)))
                let result = try await run(
                    "stage-download",
                    StepWorld.local
                        + (place == "environment"
                            ? [] : ["--task", place == "-" ? "-" : world.directory + "/task.json"]),
                    environment: place == "environment" ? members.compactMapValues(\.string) : [:],
                    input: place == "-" ? JSONValue.object(JSONObject(members)).canonicalText : "")
                #expect(result.status == 0, "\(result.errors)")
                let json = try #require(try world.list())
                #expect(BuildpackList(json: json)?.buildpacks.map(\.name) == ["k"])
                #expect(world.read(world.workspace + "/app.zip") == app)
            }
        }
    }

    @Test("speaks TLS with whom it trusts, and so does git, which clones all where it can't clone a part")
    func tls() async throws {
        try await StepWorld.with { world in
            let served = world.directory + "/served"
            try FileManager.default.createDirectory(atPath: served, withIntermediateDirectories: false)
            try world.write(try await world.zip(Self.app, "app"), "served/app")
            // Files alone, without a program of git's: there is nobody to ask for a part of the history.
            let repository = try await world.repository(["bin/detect": Self.detect])
            try await world.git(["clone", "--quiet", "--bare", repository, served + "/pack.git"], in: world.directory)
            try await world.git(["update-server-info"], in: served + "/pack.git")
            let (certificate, key) = (world.directory + "/certificate.pem", world.directory + "/key.pem")
            try await runSuccessfully(
                "openssl",
                ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=files"]
                    + ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate])
            let script = """
                import functools, http.server, ssl, sys
                handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
                server = http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[4])), handler)
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(sys.argv[2], sys.argv[3])
                server.socket = context.wrap_socket(server.socket, server_side=True)
                server.serve_forever()
                """
            let port = String(try freePort())
            let server = try ChildProcess(
                "python3", ["-c", script, served, certificate, key, port], log: served + ".log")
            defer { server.killGroup() }
            let base = "https://127.0.0.1:\(port)"
            try await waitUntil("the server") { try await run("curl", ["-sk", base]).status == 0 }
            let task: JSONValue = [
                "DOWNLOAD_URL": .string(base + "/app"),
                "BUILDPACKS": [["key": "k", "name": "n", "url": .string(base + "/pack.git#v1")]],
            ]
            let allowed = ["--allow-host", "127.0.0.1:\(port)"]
            let untrusted = try await world.download(task, allowed)
            #expect(untrusted.status == 1)
            #expect(untrusted.errors.contains("--ca"), "\(untrusted.errors)")
            let result = try await world.download(task, allowed + ["--ca", certificate])
            #expect(result.status == 0, "\(result.errors)")
            let json = try #require(try world.list())
            let list = try #require(BuildpackList(json: json)?.buildpacks)
            #expect(try await list.map(\.source) == ["git:" + world.git(["rev-parse", "v1"], in: repository)])
            #expect(world.read("\(world.buildpacks)/\(list[0].directory)/bin/detect") == Array(Self.detect.utf8))
        }
    }

    @Test("hostile archives are refused, and nothing of them is left", arguments: ["../x", "/x", "link/x"])
    func hostileTar(name: String) async throws {
        try await StepWorld.with { world in
            let app = try await world.zip(Self.app, "app")
            let tar = TestTar([.symbolicLink("link", to: ".."), .file(name, "hostile")])
            try await ScriptedServer.with(files: ["/app": app, "/pack": tar.bytes]) { server in
                let base = "http://\(server.address)"
                let result = try await world.download([
                    "DOWNLOAD_URL": .string(base + "/app"),
                    "BUILDPACKS": [["name": "a", "key": "k", "url": .string(base + "/pack")]],
                ])
                #expect(result.status == 1)
                #expect(world.names(in: world.buildpacks).isEmpty)
                #expect(!FileManager.default.fileExists(atPath: world.directory + "/x"))
            }
        }
    }

    @Test(
        "git follows neither redirects nor submodules to where no URL may lead", arguments: ["redirect", "submodule"])
    func gitElsewhere(way: String) async throws {
        try await StepWorld.with { world in
            let app = try await world.zip(Self.app, "app")
            let repository = try await world.repository(["bin/detect": Self.detect])
            try await ScriptedServer.with({ _, _, connection in connection.answer(404) }) { forbidden in
                if way == "submodule" {
                    try await world.git(["submodule", "--quiet", "add", repository, "sub"], in: repository)
                    let url = "http://\(forbidden.address)/repository/.git"
                    try await world.git(["config", "-f", ".gitmodules", "submodule.sub.url", url], in: repository)
                    try await world.git(["add", "--all"], in: repository)
                    try await world.git(["commit", "--quiet", "--message=sub"], in: repository)
                }
                try await ScriptedServer.with({ request, _, connection in
                    if request.target == "/app" {
                        connection.answer(200, [], app)
                    } else if way == "redirect" {
                        connection.answer(302, ["Location: http://\(forbidden.address)\(request.target)"])
                    } else {
                        await world.serveGit(request, connection)
                    }
                }) { server in
                    let base = "http://\(server.address)"
                    let result = try await world.download(
                        [
                            "DOWNLOAD_URL": .string(base + "/app"),
                            "BUILDPACKS": [["name": "a", "key": "k", "url": .string(base + "/repository/.git")]],
                        ], ["--allow-http", "--allow-host", server.address])
                    #expect(result.status == 1)
                    #expect(result.errors.contains("loopback"), "\(result.errors)")
                    #expect(forbidden.requests.isEmpty)
                    #expect(server.requests.contains { $0.target.hasPrefix("/repository") })
                    #expect(try world.list() == nil)
                }
            }
        }
    }

    @Test("a signal ends it at once, with git, and leaves nothing under a final name", arguments: ["archive", "git"])
    func signals(what: String) async throws {
        try await StepWorld.with { world in
            let app = try await world.zip(Self.app, "app")
            try await ScriptedServer.with({ request, _, connection in
                if request.target == "/app" { return connection.answer(200, [], app) }
                if what == "archive" {
                    connection.head(200, ["Content-Length: 1000000"])
                    connection.send([0x50, 0x4b, 3, 4])
                }
                connection.stall()
            }) { server in
                let base = "http://\(server.address)"
                let url = base + (what == "git" ? "/repository/.git" : "/pack")
                try world.write(task: [
                    "DOWNLOAD_URL": .string(base + "/app"),
                    "BUILDPACKS": [["name": "a", "key": "k", "url": .string(url)]],
                ])
                let step = try ChildProcess("stage-download", world.downloadArguments(), log: world.directory + "/log")
                try await waitUntil("the request") { server.requests.count >= 2 }
                let children = try await run("pgrep", ["-P", String(step.pid)]).output.split(separator: "\n")
                #expect(children.isEmpty == (what == "archive"))
                step.signal(SIGTERM)
                #expect(try await step.wait(atMost: .seconds(60)) == 128 + SIGTERM)
                for child in children {
                    // Who has ended and was not waited for has no command line.
                    try await waitUntil("the end of git") { (world.read("/proc/\(child)/cmdline") ?? []).isEmpty }
                }
                #expect(try world.list() == nil)
                #expect(world.names(in: world.buildpacks).allSatisfy { $0.hasPrefix(".") })
            }
        }
    }

    @Test("killed at any moment, it does all of it the next time")
    func kills() async throws {
        try await StepWorld.with { world in
            let app = try await world.zip(Self.app, "app")
            let pack = try await world.zip(
                Dictionary(uniqueKeysWithValues: (0..<300).map { ("file\($0)", "text \($0)") }), "pack")
            try await ScriptedServer.with(files: ["/app": app, "/pack": pack]) { server in
                let base = "http://\(server.address)"
                try world.write(task: [
                    "DOWNLOAD_URL": .string(base + "/app"),
                    "BUILDPACKS": [
                        ["name": "a", "key": "a", "url": .string(base + "/pack")],
                        ["name": "b", "key": "b", "url": .string(base + "/pack")],
                    ],
                ])
                let start = ContinuousClock.now
                #expect(try await run("stage-download", world.downloadArguments()).status == 0)
                let whole = ContinuousClock.now - start
                for part in 1...12 {
                    let step = try ChildProcess(
                        "stage-download", world.downloadArguments(), log: world.directory + "/log")
                    _ = try await step.wait(atMost: whole * part / 12)
                    step.killGroup()
                    _ = try await step.wait(atMost: .seconds(60))
                    // A list that is there tells of what is there whole.
                    guard let list = try world.list().flatMap({ BuildpackList(json: $0) }) else { continue }
                    for buildpack in list.buildpacks {
                        #expect(world.names(in: "\(world.buildpacks)/\(buildpack.directory)").count == 300)
                    }
                }
                #expect(try await run("stage-download", world.downloadArguments()).status == 0)
                #expect(world.names(in: world.buildpacks).count == 2 * 301 + 1)
                #expect(world.names(in: world.workspace) == ["app.zip"])
            }
        }
    }
}
