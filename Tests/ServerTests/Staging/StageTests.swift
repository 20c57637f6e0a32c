import Foundation
import JSON
import TestSupport
import Testing

extension ServerTests {
    /// `cistern stage` as one types it, with the programs, the sandbox and a server as they are.
    @Suite("cistern stage", .serialized, .sharedServer)
    struct StageTests {
        private static func buildpack(_ name: String) -> String { "\(Programs.repository)/fixtures/buildpacks/\(name)" }

        /// An app in a directory of its own, and a place for builds beside it.
        private static func with<Result>(
            _ files: [String: String] = ["index.html": "<h1>hello</h1>\n"], _ body: (App) async throws -> Result
        ) async throws -> Result {
            try await withTemporaryDirectory { directory in
                for (name, text) in files {
                    let path = URL(fileURLWithPath: "\(directory)/app/\(name)")
                    try FileManager.default.createDirectory(
                        at: path.deletingLastPathComponent(), withIntermediateDirectories: true)
                    try Data(text.utf8).write(to: path)
                }
                return try await body(App(world: try SharedServer.world(), directory: directory))
            }
        }

        private struct App {
            let world: World
            let directory: String
            var path: String { directory + "/app" }
            var cache: String { directory + "/cache" }

            func arguments(_ path: String?, _ words: [String]) -> [String] {
                ["stage", path ?? self.path, "--stack", "tiny", "--cache", cache] + words
            }

            func stage(_ words: String..., app: String? = nil) async throws -> CommandResult {
                try await world.server.cistern(arguments(app, words))
            }

            /// The names in a droplet that was staged, and what the files have in them.
            func droplet(_ guid: String, _ image: String) async throws -> [String: String] {
                let hash = image.split(separator: ":").last.map(String.init) ?? ""
                let answer = try await world.client.get("/droplets/\(guid)/\(hash)", as: "operator")
                try #require(answer.status == 200)
                let unpacked = "\(directory)/\(UUID().uuidString)"
                try FileManager.default.createDirectory(atPath: unpacked, withIntermediateDirectories: true)
                try Data(answer.body).write(to: URL(fileURLWithPath: unpacked + ".tgz"))
                try await runSuccessfully("tar", ["-xzf", unpacked + ".tgz", "-C", unpacked])
                var contents: [String: String] = [:]
                for name in try FileManager.default.subpathsOfDirectory(atPath: unpacked) {
                    contents[name] = (try? String(contentsOfFile: "\(unpacked)/\(name)", encoding: .utf8)) ?? ""
                }
                return contents
            }

            /// What is left of builds: their directories.
            var leftovers: [String] {
                (try? FileManager.default.contentsOfDirectory(atPath: cache + "/tasks")) ?? []
            }

            /// The processes that have a build's directory in their arguments, or a program of the sandbox.
            func processes() -> [String] {
                let numbers = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
                return numbers.filter { number in
                    guard Int(number) != nil else { return false }
                    let line = (try? String(contentsOfFile: "/proc/\(number)/cmdline", encoding: .utf8)) ?? ""
                    return line.contains(cache)
                        || line.contains("hang-of-\(directory.split(separator: "/").last ?? "")")
                }
            }
        }

        @Test("An app becomes a droplet and an image; what .cfignore names stays out; a zip gives the same")
        func stage() async throws {
            let files = [
                "index.html": "<h1>hello</h1>\n", "sub/page.html": "page\n", "debug.log": "no\n",
                ".cfignore": "*.log\n",
                ".git/config": "no\n",
            ]
            try await Self.with(files) { app in
                let staged = try await app.stage("--guid", "site", "-b", Self.buildpack("static"))
                #expect(staged.status == 0, "\(staged.errors)")
                #expect(staged.output.hasPrefix("127.0.0.1:") && staged.output.contains("/cloudfoundry/site:"))
                for line in [
                    "-----> Download: done in", "-----> Finalize static: done in",
                    "podman pull --cert-dir CERTS --creds pull:PASSWORD",
                ] {
                    #expect(staged.errors.contains(line), "\(line): \(staged.errors)")
                }
                let droplet = try await app.droplet("site", staged.output)
                #expect(droplet["app/index.html"] == "<h1>hello</h1>\n" && droplet["app/sub/page.html"] == "page\n")
                #expect(droplet.keys.filter { $0.contains("log") && !$0.hasPrefix("logs") } == [])
                #expect(droplet["app/.git"] == nil && droplet["app/.cfignore"] == nil)
                #expect(droplet["staging_info.yml"]?.contains("static") == true)
                let image = try await app.world.client.get(
                    "/v2/cloudfoundry/site/manifests/\(staged.output.split(separator: ":").last ?? "")")
                #expect(image.status == 200)

                let zip = app.directory + "/site.zip"
                try await runSuccessfully(
                    "python3",
                    [
                        "-c",
                        "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1], 'w')\n"
                            + "[z.write(n) for n in ['index.html', 'sub/page.html']]", zip,
                    ], directory: app.path)
                let same = try await app.stage("-b", Self.buildpack("static"), "--json", app: zip)
                #expect(same.status == 0, "\(same.errors)")
                let json = try JSONValue(parsing: same.output)
                let other = try await app.droplet("site", json["image"]?.string ?? "")
                #expect(other.filter { $0.key.hasPrefix("app/") } == droplet.filter { $0.key.hasPrefix("app/") })
                #expect(app.leftovers.isEmpty)
            }
        }

        @Test(
            "A failure says which phase and buildpack failed, in the controller's words",
            arguments: [
                ("detect", "NoAppDetectedError", ["--detect"]),
                ("supply", "BuildpackCompileFailed: bin/supply of the buildpack supply failed with exit code 7", []),
                ("finalize", "BuildpackCompileFailed: bin/finalize of the buildpack finalize failed", []),
                ("compile", "BuildpackCompileFailed: bin/compile of the buildpack compile failed", ["--detect"]),
                ("release", "BuildpackReleaseFailed: bin/release of the buildpack release failed", ["--detect"]),
            ])
        func failures(name: String, message: String, words: [String]) async throws {
            try await Self.with { app in
                let failed = try await app.world.server.cistern(
                    app.arguments(nil, ["-b", Self.buildpack("fails/\(name)"), "--guid", "failed"] + words))
                #expect(failed.status == 1 && failed.output.isEmpty, "\(failed)")
                #expect(failed.errors.contains("Error: " + message), "\(failed.errors)")
                #expect(app.leftovers.isEmpty)
            }
        }

        @Test("A build that fails for want of room on its disk says so, whatever its buildpack makes of it")
        func fullDisk() async throws {
            try await Self.with { app in
                let pack = try Self.pack(app, compile: "cat /dev/zero >$1/large 2>/dev/null || exit 3")
                let failed = try await app.stage("--guid", "full", "-b", pack, "--disk", "64")
                let message = "BuildpackCompileFailed: bin/compile of the buildpack pack failed with exit code 3"
                #expect(failed.errors.contains("Error: \(message); the build's disk is full"), "\(failed.errors)")
                #expect(app.leftovers.isEmpty)
            }
        }

        @Test("What can't be staged is said before anything runs")
        func refusals() async throws {
            try await Self.with { app in
                let none = try await app.stage("--guid", "x")
                #expect(none.status == 1 && none.errors.contains("cistern buildpack upload"), "\(none.errors)")
                let missing = try await app.stage("-b", app.directory + "/nowhere")
                #expect(missing.status == 1 && missing.errors.contains("there is no buildpack"), "\(missing.errors)")
                let nothing = try await app.stage("-b", Self.buildpack("static"), app: app.directory + "/nothing")
                #expect(nothing.status == 1 && nothing.errors.contains("No such file"), "\(nothing.errors)")
                let text = app.path + "/index.html"
                let odd = try await app.stage("-b", Self.buildpack("static"), app: text)
                #expect(odd.status == 1 && odd.errors.contains("neither a directory nor a zip"), "\(odd.errors)")
                let usage = try await app.stage("-b", Self.buildpack("static"), "--memory", "1")
                #expect(usage.status == 2, "\(usage.errors)")
            }
        }

        @Test("Installed buildpacks detect; the build cache comes back with the next build")
        func installed() async throws {
            let script = """
                #!/bin/sh
                [ -f "$1/index.html" ]
                """
            let compile = """
                #!/bin/sh
                echo "builds so far: $(cat "$2/count" 2>/dev/null || echo 0)"
                echo "$(($(cat "$2/count" 2>/dev/null || echo 0) + 1))" >"$2/count"
                """
            let release = "#!/bin/sh\necho 'default_process_types: {web: sleep 1}'\n"
            try await Self.with { app in
                let pack = app.directory + "/pack"
                for (name, text) in [("detect", script), ("compile", compile), ("release", release)] {
                    try FileManager.default.createDirectory(atPath: pack + "/bin", withIntermediateDirectories: true)
                    try Data(text.utf8).write(to: URL(fileURLWithPath: "\(pack)/bin/\(name)"))
                    chmod("\(pack)/bin/\(name)", 0o755)
                }
                try await runSuccessfully(
                    "python3", ["-c", "import shutil; shutil.make_archive('../counting', 'zip')"], directory: pack)
                let upload = try await app.world.server.cistern(
                    ["buildpack", "upload", app.directory + "/counting.zip", "--position", "1"])
                #expect(upload.status == 0, "\(upload.errors)")
                let list = try await app.world.server.cistern(["buildpack", "list"])
                #expect(list.output.contains("counting") && list.output.contains("(any)"), "\(list.output)")
                for count in 0..<3 {
                    let staged = try await app.stage("--guid", "counted")
                    #expect(
                        staged.status == 0 && staged.errors.contains("builds so far: \(count)\n"), "\(staged.errors)")
                }
                let other = try await app.stage("--guid", "other")
                #expect(other.status == 0 && other.errors.contains("builds so far: 0\n"), "\(other.errors)")
                let removed = try await app.world.server.cistern(["buildpack", "remove", "--guid", "counting"])
                #expect(removed.status == 0, "\(removed.errors)")
            }
        }

        @Test("On a terminal a last line says for how long a phase has lasted, and is gone at the end")
        func progress() async throws {
            try await Self.with { app in
                let pack = try Self.pack(app, compile: "sleep 2.2")
                let cistern = try Programs.path(of: "cistern")
                let words = app.arguments(nil, ["--guid", "slow", "-b", pack]).map { "'\($0)'" }
                // script(1) gives the command a terminal.
                let command = "\(cistern) \(words.joined(separator: " "))"
                let result = try await run(
                    "script", ["--quiet", "--return", "--command", command, "/dev/null"],
                    environment: app.world.server.commandLineEnvironment())
                #expect(result.status == 0, "\(result.output)")
                #expect(result.output.contains("Compile pack, for 1 s\r\u{1B}[K"), "\(result.output)")
                #expect(result.output.split(separator: "\u{1B}[K").last?.contains("pack, for") == false)
            }
        }

        @Test("A stack's build rootfs is taken if it has one, of the current version or the one that is named")
        func buildRootfs() async throws {
            try await Self.with { app in
                let world = app.world
                for version in ["1", "2"] {
                    let imported = try await world.server.cistern([
                        "rootfs", "import", "--stack", "other", "--version", version, "--shell", "/bin/sh",
                        try await Fixtures.tinyRootfs(version: version),
                    ])
                    #expect(imported.status == 0, "\(imported.errors)")
                }
                func stage(_ words: String...) async throws -> CommandResult {
                    try await world.server.cistern(
                        ["stage", app.path, "--stack", "other", "--cache", app.cache, "-b", Self.buildpack("static")]
                            + words)
                }
                func promote(_ version: String) async throws {
                    _ = try await world.server.cistern(["rootfs", "promote", "--stack", "other", "--version", version])
                }
                try await promote("1")
                let run = try await stage()
                #expect(run.status == 0 && run.errors.contains("on other 1\n"), "\(run.errors)")
                let imported = try await world.server.cistern([
                    "rootfs", "import", "--kind", "build", "--stack", "other", "--version", "1", "--shell", "/bin/sh",
                    try await Fixtures.tinyRootfs(version: "1"),
                ])
                #expect(imported.status == 0 && imported.output.contains("for builds"), "\(imported)")
                let build = try await stage()
                #expect(build.status == 0 && build.errors.contains("on other 1 (build)\n"), "\(build.errors)")
                try await promote("2")
                let missing = try await stage()
                #expect(missing.status == 1 && missing.errors.contains("--build-version"), "\(missing.errors)")
                let named = try await stage("--build-version", "1")
                #expect(named.status == 0 && named.errors.contains("on other 1 (build)\n"), "\(named.errors)")
                let list = try await world.server.cistern(["rootfs", "list", "--kind", "build", "--stack", "other"])
                #expect(list.output.split(separator: "\n").count == 2, "\(list.output)")
                let removed = try await world.server.cistern([
                    "rootfs", "remove", "--kind", "build", "--stack", "other", "--version", "1",
                ])
                #expect(removed.status == 0, "\(removed.errors)")
            }
        }

        /// A buildpack whose compile does something.
        private static func pack(_ app: App, compile: String) throws -> String {
            let pack = app.directory + "/pack"
            try FileManager.default.createDirectory(atPath: pack + "/bin", withIntermediateDirectories: true)
            let release = "#!/bin/sh\necho 'default_process_types: {web: sleep 1}'\n"
            for (name, text) in [("compile", "#!/bin/sh\n\(compile)\n"), ("release", release)] {
                try Data(text.utf8).write(to: URL(fileURLWithPath: "\(pack)/bin/\(name)"))
                chmod("\(pack)/bin/\(name)", 0o755)
            }
            return pack
        }

        @Test("A build finds none of the platform's secrets, and not this machine's processes")
        func secrets() async throws {
            let look = """
                env
                for process in /proc/[0-9]*; do
                    echo "$process"
                    tr '\\0' '\\n' <$process/cmdline
                    tr '\\0' '\\n' <$process/environ 2>/dev/null
                done
                cat /recipe_workspace/* /var/lib/buildpacks/config.json 2>/dev/null | head -c 100000
                ls -la / /lifecycle /tmp /home/vcap
                id
                """
            try await Self.with { app in
                let pack = try Self.pack(app, compile: look)
                let staged = try await app.stage("--guid", "look", "--env", "OWN=mine", "-b", pack)
                #expect(staged.status == 0 && staged.errors.contains("OWN=mine"), "\(staged.errors)")
                for secret in try app.world.secrets() + ["signature=", "AccessKeyId", app.cache, "CISTERN_"] {
                    #expect(!staged.errors.contains(secret), "the build sees '\(secret.prefix(8))…'")
                }
                let processes = staged.errors.split(separator: "\n").filter { $0.hasPrefix("/proc/") }
                #expect(processes.count < 10, "\(processes)")
                #expect(staged.errors.contains("uid=2000"))
            }
        }

        @Test(
            "A hostile buildpack is contained and reported, and the next task runs",
            arguments: [
                ("read-secrets", nil), ("write-outside", nil), ("fork-bomb", nil), ("fill-disk", nil),
                ("hang", "longer than its limit"), ("print-without-end", "more than its limit"), ("leave-daemon", nil),
                ("replace-droplet-by-link", nil),
            ] as [(String, String?)])
        func hostile(mode: String, message: String?) async throws {
            let files = ["hostile-mode": "\(mode)\n/out\n/recipe_workspace/environment.json\n", "index.html": "x"]
            try await Self.with(files) { app in
                // One of them prints as much as it may, for which it has the time on a busy machine, too.
                let seconds = mode == "print-without-end" ? "300" : "5"
                let staged = try await run(
                    "cistern",
                    app.arguments(
                        nil,
                        [
                            "--guid", "hostile", "-b", Self.buildpack("hostile"), "--detect", "--time-limit", seconds,
                            "--disk", "64", "--memory", "256",
                        ]), environment: app.world.server.commandLineEnvironment(), outputLimit: 64 << 20)
                // What does no harm to others may end either way; that it ended says its last line.
                let text = String(
                    decoding: staged.stderr.prefix(200_000) + staged.stderr.suffix(2000), as: UTF8.self)
                #expect(staged.status == 0 || text.contains("\nError: "), "\(text.suffix(2000))")
                if let message {
                    #expect(staged.status == 1 && text.contains(message), "\(text.suffix(2000))")
                }
                for secret in try app.world.secrets() + ["signature=", "AccessKeyId"] {
                    #expect(!text.contains(secret), "the build sees '\(secret.prefix(8))…'")
                }
                #expect(!text.contains("\nopened "), "\(text.suffix(2000))")
                if staged.status == 0, mode == "replace-droplet-by-link" || mode == "leave-daemon" {
                    let droplet = try await app.droplet("hostile", staged.output)
                    #expect(droplet["app/index.html"] == "x" && droplet["staging_info.yml"] != nil)
                }
                #expect(app.leftovers.isEmpty)
                let next = try await app.stage("--guid", "hostile", "-b", Self.buildpack("static"))
                #expect(next.status == 0, "\(next.errors)")
            }
        }

        @Test("With a network a build reaches other hosts, but neither this machine nor what is refused")
        func network() async throws {
            let name = "cistern-\(UInt32.random(in: 0 ... .max))"
            let link = "cst\(UInt16.random(in: 0 ... .max))"
            try await runSuccessfully("ip", ["netns", "add", name])
            do {
                for words in [
                    "link add \(link) type veth peer name peer netns \(name)", "address add 10.213.77.1/24 dev \(link)",
                    "link set \(link) up", "-n \(name) address add 10.213.77.2/24 dev peer",
                    "-n \(name) link set peer up",
                    "-n \(name) link set lo up",
                ] { try await runSuccessfully("ip", words.split(separator: " ").map(String.init)) }
                try await Self.with { app in
                    let port = try freePort()
                    try Data("reached".utf8).write(to: URL(fileURLWithPath: app.path + "/reached"))
                    var servers: [ChildProcess] = []
                    defer { for server in servers { server.killGroup() } }
                    for (program, address) in [
                        (["ip", "netns", "exec", name, "busybox"], "10.213.77.2"), (["busybox"], "10.213.77.1"),
                        (["busybox"], "127.0.0.1"),
                    ] {
                        servers.append(
                            try ChildProcess(
                                program[0],
                                program.dropFirst() + ["httpd", "-f", "-p", "\(address):\(port)", "-h", app.path],
                                log: app.directory + "/httpd"))
                    }
                    let url = "http://10.213.77.2:\(port)/reached"
                    try await waitUntil("the other host answers") {
                        try await run("curl", ["--silent", url]).output == "reached"
                    }
                    let pack = try Self.pack(
                        app,
                        compile: """
                            for host in 10.213.77.2 10.213.77.1 10.0.2.2 127.0.0.1 169.254.169.254; do
                                answer=$(printf 'GET /reached HTTP/1.0\\r\\n\\r\\n' | nc -w 3 $host \(port) 2>/dev/null)
                                case $answer in *reached) echo "$host: reached" ;; *) echo "$host: no" ;; esac
                            done
                            cat /etc/resolv.conf
                            """)
                    let staged = try await app.stage("--guid", "net", "-b", pack, "--network")
                    #expect(staged.status == 0, "\(staged.errors)")
                    for line in [
                        "10.213.77.2: reached", "10.213.77.1: no", "10.0.2.2: no", "127.0.0.1: no",
                        "169.254.169.254: no",
                        "nameserver 10.0.2.3",
                    ] { #expect(staged.errors.contains(line + "\n"), "\(line): \(staged.errors)") }
                    let refused = try await app.stage(
                        "--guid", "net", "-b", pack, "--network", "--refuse", "10.213.77.0/24")
                    #expect(refused.errors.contains("10.213.77.2: no\n"), "\(refused.errors)")
                    let none = try await app.stage("--guid", "net", "-b", pack)
                    #expect(none.errors.contains("10.213.77.2: no\n"), "\(none.errors)")
                    try await waitUntil("nothing runs any more") { app.processes().isEmpty }
                    #expect(app.leftovers.isEmpty)
                }
            } catch {
                _ = try? await run("ip", ["netns", "delete", name])
                throw error
            }
            try await runSuccessfully("ip", ["netns", "delete", name])
        }

        @Test(
            "Whatever ends it, nothing of a build goes on, and the next one finds its place in order",
            arguments: [SIGINT, SIGTERM, SIGKILL])
        func ended(by signal: Int32) async throws {
            try await Self.with { app in
                let mark = "hang-of-\(app.directory.split(separator: "/").last ?? "")"
                let pack = try Self.pack(
                    app, compile: "setsid sh -c 'sleep 1000; : \(mark)' &\necho hanging\nsh -c 'sleep 1000; : \(mark)'")
                let log = app.directory + "/log"
                let child = try ChildProcess(
                    "cistern", app.arguments(nil, ["--guid", "hung", "-b", pack]),
                    environment: app.world.server.commandLineEnvironment(), log: log)
                try await waitUntil("the buildpack hangs") {
                    ((try? String(contentsOfFile: log, encoding: .utf8)) ?? "").contains("hanging")
                }
                #expect(!app.leftovers.isEmpty && app.processes().count >= 2)
                child.signal(signal)
                let status = try await child.wait(atMost: .seconds(30))
                let text = try String(contentsOfFile: log, encoding: .utf8)
                #expect(status == (signal == SIGKILL ? 128 + SIGKILL : 1), "\(text)")
                try await waitUntil("nothing runs any more") { app.processes().isEmpty }
                if signal != SIGKILL {
                    #expect(app.leftovers.isEmpty && text.contains("cancelled"), "\(text)")
                }
                let next = try await app.stage("--guid", "hung", "-b", Self.buildpack("static"))
                #expect(next.status == 0, "\(next.errors)")
                #expect(app.leftovers.isEmpty)
            }
        }
    }
}
