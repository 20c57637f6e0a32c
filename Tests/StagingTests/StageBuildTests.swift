import Foundation
import JSON
import TestSupport
import Testing

@Suite("stage-build")
struct StageBuildTests {
    private func arguments(_ world: BuildWorld) -> [String] {
        [
            "--app", world.app, "--buildpacks", world.buildpacks, "--workspace", world.workspace, "--output",
            world.output, "--work", world.work,
        ]
    }

    @Test(
        "exits with the lifecycle's codes",
        arguments: [
            (["detect": "exit 0", "compile": "exit 0", "release": "echo"], 0), (["detect": "exit 1"], 222),
            (["detect": "exit 0", "compile": "exit 1"], 223),
            (["detect": "exit 0", "compile": "exit 0", "release": "exit 1"], 224),
        ] as [([String: String], Int32)])
    func exitCodes(scripts: [String: String], code: Int32) async throws {
        try await withBuildWorld { world in
            try await world.write(buildpacks: [FakeBuildpack("b", scripts)])
            let result = try await run("stage-build", arguments(world))
            #expect(result.status == code, "\(result.output) \(result.errors)")
            #expect(result.output.contains("-----> Detect"))
            #expect(FileManager.default.fileExists(atPath: world.output + "/result.json"))
        }
    }

    @Test("Why it failed stands in the file that --message names, which stays the same file, in 4 KiB at the most")
    func message() async throws {
        try await withBuildWorld { world in
            let (file, link) = (world.directory + "/message", world.directory + "/link")
            try Data(repeating: 0x78, count: 9000).write(to: URL(fileURLWithPath: file))
            try FileManager.default.linkItem(atPath: file, toPath: link)
            try await world.write(buildpacks: [FakeBuildpack("b", ["detect": "exit 0", "compile": "exit 7"])])
            let result = try await run("stage-build", arguments(world) + ["--message", file])
            #expect(result.status == 223)
            let text = try String(contentsOfFile: link, encoding: .utf8)
            let failure = try #require(try JSONValue(parsing: Array(text.utf8))["failure"])
            #expect(
                failure["exit_code"]?.integer == 7 && failure["buildpack"]?.string == "b" && text.utf8.count <= 4096)
        }
    }

    @Test("Nothing of its own environment but what is meant for buildpacks can be read by them, not even in /proc")
    func secrets() async throws {
        try await withBuildWorld { world in
            // Another user than root, since root may read everything.
            let compile = "env > $1/env; cat /proc/$PPID/environ /proc/$PPID/mem >> $1/env 2>&1; exit 0"
            try await world.write(buildpacks: [
                FakeBuildpack("b", ["detect": "exit 0", "compile": compile, "release": "echo"])
            ])
            let program = world.directory + "/stage-build"
            try await runSuccessfully("cp", [try Programs.path(of: "stage-build"), program])
            try await runSuccessfully("chmod", ["-R", "a+rwX", world.directory])
            let result = try await run(
                "setpriv",
                ["--reuid", "2000", "--regid", "2000", "--clear-groups", program] + arguments(world),
                environment: ["COMPLETION_CALLBACK": "https://u:s3cret@h", "CF_STACK": "seen"])
            #expect(result.status == 0, "\(result.output) \(result.errors)")
            let outcome = try await world.outcome(nil, log: result.output)
            let seen = try #require(outcome.file("app/env"))
            #expect(seen.contains("CF_STACK=seen"))
            #expect(seen.contains("Permission denied"))
            #expect(!seen.contains("s3cret"))
        }
    }

    @Test("SIGTERM ends it with 143, and everything that it started with it, also what left the process group")
    func terminated() async throws {
        try await withBuildWorld { world in
            let list = world.directory + "/pids"
            let compile = """
                sleep 600 & echo $! > \(list).new
                setsid sleep 600 & echo $! >> \(list).new
                mv \(list).new \(list)
                wait
                """
            try await world.write(buildpacks: [FakeBuildpack("b", ["detect": "exit 0", "compile": compile])])
            let log = world.directory + "/log"
            let child = try ChildProcess("stage-build", arguments(world), log: log)
            defer { child.killGroup() }
            try await waitUntil("compile runs") { FileManager.default.fileExists(atPath: list) }
            #expect(try await child.stop() == 143)
            let text = try String(contentsOfFile: list, encoding: .utf8)
            let pids = text.split(separator: "\n")
            #expect(pids.count == 2)
            for pid in pids { try await waitUntil("\(pid) is gone") { !isRunning(pid) } }
            #expect(try FileManager.default.contentsOfDirectory(atPath: world.output) == ["result.json"])
            #expect(try FileManager.default.contentsOfDirectory(atPath: world.work) == [])
        }
    }

    @Test("It links the C libraries of archives and YAML, and nothing that could reach a network")
    func linked() async throws {
        let program = try Programs.path(of: "stage-build")
        let dynamic = try await runSuccessfully(
            "readelf", ["--dynamic", "--wide", program], environment: ["LC_ALL": "C"])
        let needed = dynamic.output.split(separator: "\n").filter { $0.contains("(NEEDED)") }
            .compactMap { $0.split(separator: "[").last?.dropLast() }.map(String.init)
        let allowed: Set<String> = [
            "libarchive.so.13", "libz.so.1", "libisal.so.2", "libzstd.so.1", "liblzma.so.5", "libbz2.so.1.0",
            "libyaml-0.so.2", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1",
            "libc.so.6", "ld-linux-x86-64.so.2",
        ]
        #expect(!needed.isEmpty)
        #expect(Set(needed).subtracting(allowed) == [])
        let bytes = try Data(contentsOf: URL(fileURLWithPath: program))
        for name in ["NIOCore", "NIOPosix", "AsyncHTTPClient", "NIOSSL", "FoundationEssentials"] {
            #expect(bytes.range(of: Data(name.utf8)) == nil, "\(name) is in it")
        }
        #expect(bytes.range(of: Data("BuildpackList".utf8)) != nil, "names can't be found in it at all")
    }

    @Test("With its own loader and libraries it runs where there is nothing but a shell")
    func emptyRoot() async throws {
        try await withBuildWorld { world in
            try await world.write(
                app: ["index.html": "hi"],
                buildpacks: [
                    FakeBuildpack(
                        "b",
                        [
                            "detect": "echo Empty", "compile": "echo made > $1/made",
                            "release": "echo 'default_process_types: {web: x}'",
                        ])
                ])
            let program = try Programs.path(of: "stage-build")
            let root = world.directory
            try await runSuccessfully(
                "sh",
                [
                    "-c",
                    """
                    cd "$2" && mkdir -p bin lib dev && cp "$1" lib/stage-build && cp /bin/busybox bin/sh && : > dev/null
                    ldd "$1" | grep -o '/[^ ]*' | while read -r file; do cp "$file" lib/; done
                    """, "sh", program, root,
                ])
            let result = try await run(
                "chroot",
                [
                    root, "/lib/ld-linux-x86-64.so.2", "--library-path", "/lib", "/lib/stage-build", "--app", "/app",
                    "--buildpacks", "/buildpacks", "--workspace", "/workspace", "--output", "/output",
                ])
            #expect(result.status == 0, "\(result.output) \(result.errors)")
            let outcome = try await world.outcome(nil, log: result.output)
            #expect(outcome.file("app/made") == "made\n")
            #expect(outcome.commands == ["web": "x"])
        }
    }
}
