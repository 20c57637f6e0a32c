import Foundation
import JSON
import TestSupport
import Testing

extension ServerTests {
    /// `cistern rootfs check` as one types it, with the sandbox and a server as they are.
    @Suite("cistern rootfs check", .serialized, .sharedServer)
    struct RootfsCheckTests {
        /// The statements of the launcher's article, one for each item of its lists, without back quotes.
        private static func article() throws -> [String] {
            let path = Programs.repository + "/Sources/Launcher/Launcher.docc/Contract.md"
            var statements: [String] = []
            var isItem = false
            for line in try String(contentsOfFile: path, encoding: .utf8).components(separatedBy: "\n") {
                let text = line.filter { $0 != "`" }
                if text.hasPrefix("- ") {
                    statements.append(String(text.dropFirst(2)))
                    isItem = true
                } else if isItem, text.hasPrefix("  "), let last = statements.popLast() {
                    statements.append(last + text.dropFirst())
                } else {
                    isItem = false
                }
            }
            return statements
        }

        private struct Line: Equatable {
            let outcome: String
            let statement: String
        }

        /// Imports a version under its name, checks it and gives the lines. It is never promoted.
        private static func check(
            _ version: String, _ rootfs: String, shell: String = "/bin/sh", _ words: String...
        ) async throws -> CommandResult {
            let world = try SharedServer.world()
            let imported = try await world.server.cistern([
                "rootfs", "import", "--stack", "checked", "--version", version, "--shell", shell, rootfs,
            ])
            #expect(imported.status == 0, "\(imported.errors)")
            return try await withTemporaryDirectory { cache in
                let result = try await world.server.cistern(
                    ["rootfs", "check", version, "--stack", "checked", "--cache", cache] + words)
                let left = try FileManager.default.contentsOfDirectory(atPath: cache + "/tasks")
                #expect(left == [], "boots leave nothing behind")
                return result
            }
        }

        /// The tiny rootfs, changed by a shell script that runs in it.
        private static func broken(_ directory: String, by script: String) async throws -> String {
            let (root, tar) = (directory + "/root", directory + "/rootfs.tar.gz")
            try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: false)
            try await runSuccessfully("tar", ["-xpf", try await Fixtures.tinyRootfs(), "-C", root])
            try await runSuccessfully("sh", ["-euc", script], directory: root)
            try await runSuccessfully("tar", ["-czf", tar, "-C", root, "."])
            return tar
        }

        private static func lines(_ result: CommandResult, outcome: String) -> [String] {
            result.output.split(separator: "\n").filter { $0.hasPrefix(outcome + " ") }.map {
                String($0.dropFirst(10))
            }
        }

        @Test("Every statement of the article has a line and every line is a statement of the article, in its order")
        func statements() async throws {
            let article = try Self.article()
            #expect(article.count > 30, "the article is read")
            let rootfs = try await Fixtures.tinyRootfs()
            let result = try await Self.check("fine", rootfs, "--boot")
            #expect(result.status == 0, "\(result)")
            let lines = result.output.split(separator: "\n")
            #expect(lines.count == article.count + 1)
            for (line, statement) in zip(lines, article) {
                #expect(line.dropFirst(10).hasPrefix(statement))
            }
            // It has neither certificates nor interpreters.
            let leftOut = Self.lines(result, outcome: "left out")
            #expect(leftOut.map { String($0.prefix { $0 != " " && $0 != "," }) } == ["Certificate", "The"])
            #expect(lines.last == "checked fine: \(article.count - 2) ok, 0 failed, 2 left out")

            let files = try await Self.check("fine-files", rootfs)
            #expect(files.status == 0 && files.output.hasSuffix("--boot checks \(article.count - 5) more"), "\(files)")
        }

        @Test("On the rootfs that the demo uses every statement holds")
        func cisternfs() async throws {
            let result = try await Self.check("debian", try await Fixtures.cisternfs(), shell: "/bin/bash", "--boot")
            #expect(result.status == 0, "\(result)")
            #expect(result.output.hasSuffix("checked debian: \(try Self.article().count) ok, 0 failed"), "\(result)")
        }

        @Test("What is wrong with a version is what fails, with what was expected and what was seen")
        func faults() async throws {
            try await withTemporaryDirectory { directory in
                let rootfs = try await Self.broken(
                    directory,
                    by: """
                        chmod 755 tmp
                        chmod 600 etc/passwd
                        mkdir -p etc/ssl/certs && echo nothing >etc/ssl/certs/ca-certificates.crt
                        printf '#!/nowhere\\n' >usr/bin/python3 && chmod 755 usr/bin/python3
                        """)
                let result = try await Self.check("faults", rootfs, "--boot")
                #expect(result.status == 1)
                let failed = Self.lines(result, outcome: "failed")
                let expected = [
                    ("/etc/passwd and /etc/group", "Seen: nothing that everybody may read."),
                    ("/tmp is a directory", "Expected: mode 1777. Seen: mode 755."),
                    ("Certificate authorities", "Seen: none that everybody may read."),
                    ("The interpreters", "its interpreter or loader is not in this image'."),
                    ("The app's user and group", "Expected: user 'vcap'. Seen: exit code"),
                ]
                #expect(failed.count == expected.count, "\(result.output)")
                for (line, (start, seen)) in zip(failed, expected) {
                    #expect(line.hasPrefix(start) && line.contains(seen), "\(line)")
                }

                let json = try await Self.check("faults-json", rootfs, "--boot", "--json")
                let report = try JSONValue(parsing: json.output)
                #expect(json.status == 1 && report["boot"] == true && report["version"] == "faults-json")
                let lines = try #require(report["lines"]?.array)
                #expect(lines.count { $0["outcome"] == "failed" } == expected.count)
                #expect(lines.compactMap { $0["statement"]?.string } == (try Self.article()))
                #expect(lines.first { $0["outcome"] == "failed" && $0["seen"] == "mode 755" } != nil)
            }
        }

        @Test("A version whose only shell no app finds is imported, and nothing that needs a shell holds on it")
        func noShell() async throws {
            try await withTemporaryDirectory { directory in
                let rootfs = try await Self.broken(
                    directory, by: "mkdir opt && cp --remove-destination bin/busybox opt/sh && rm bin/sh")
                let result = try await Self.check("no-shell", rootfs, shell: "/opt/sh", "--boot")
                #expect(result.status == 1)
                let holds = [
                    "/etc/passwd and", "/tmp is", "/etc/os-release says", "A program with its arguments needs no shell",
                    "The exit code is 126", "The exit code is 127", "The exit code is 1 if",
                ]
                let ok = Self.lines(result, outcome: "ok")
                #expect(ok.count == holds.count, "\(ok)")
                for (line, start) in zip(ok, holds) { #expect(line.hasPrefix(start), "\(line)") }
                let failed = Self.lines(result, outcome: "failed")
                #expect(failed.count == (try Self.article()).count - holds.count - 2)
                #expect(failed.dropFirst().allSatisfy { $0.contains("this image has no shell: none of /bin/bash, ") })
            }
        }

        @Test("Ctrl-C ends a check whose boots hang, and leaves nothing behind")
        func cancelled() async throws {
            try await withTemporaryDirectory { directory in
                let rootfs = try await Self.broken(
                    directory,
                    by: """
                        mkdir opt && cp bin/busybox opt/sh && rm bin/sh
                        printf '#!/opt/sh\\necho hangs\\nwhile :; do sleep 1000; done\\n' >bin/sh && chmod 755 bin/sh
                        """)
                let server = try SharedServer.world().server
                let imported = try await server.cistern([
                    "rootfs", "import", "--stack", "checked", "--version", "hangs", "--shell", "/opt/sh", rootfs,
                ])
                #expect(imported.status == 0, "\(imported.errors)")
                let (log, cache) = (directory + "/log", directory + "/cache")
                let child = try ChildProcess(
                    "cistern", ["rootfs", "check", "hangs", "--stack", "checked", "--boot", "--cache", cache],
                    environment: server.commandLineEnvironment(), log: log)
                func boots() -> [String] {
                    ((try? FileManager.default.contentsOfDirectory(atPath: cache + "/tasks")) ?? [])
                        .filter { FileManager.default.fileExists(atPath: "\(cache)/tasks/\($0)/boot/status") }
                }
                try await waitUntil("an app is booted") { !boots().isEmpty }
                child.signal(SIGINT)
                #expect(try await child.wait(atMost: .seconds(20)) == 1)
                let text = try String(contentsOfFile: log, encoding: .utf8)
                #expect(text.contains("Error: the check was cancelled; nothing of it is left"), "\(text)")
                #expect(try FileManager.default.contentsOfDirectory(atPath: cache + "/tasks") == [])
            }
        }

        @Test("Where a version is not there, or can't be kept apart from this machine, it says what is missing")
        func refusals() async throws {
            let world = try SharedServer.world()
            let none = try await world.server.cistern(["rootfs", "check", "nowhere", "--stack", "checked", "--boot"])
            #expect(none.status == 1 && none.output.isEmpty && none.errors.contains("nowhere"), "\(none)")
            try await withTemporaryDirectory { cache in
                let hide = #"mount --bind /dev/null "$(command -v bwrap)"; exec "$@""#
                let result = try await run(
                    "unshare",
                    [
                        "--mount", "--propagation", "slave", "--", "sh", "-c", hide, "sh",
                        try Programs.path(of: "cistern"),
                        "rootfs", "check", "1", "--stack", "tiny", "--boot", "--cache", cache,
                    ], environment: world.server.commandLineEnvironment())
                #expect(result.status == 1 && result.errors.contains("install the package bubblewrap"), "\(result)")
            }
        }
    }
}
