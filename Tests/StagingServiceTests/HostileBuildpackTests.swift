import Foundation
import StagingService
import TestSupport
import Testing
import Transfer

/// `fixtures/buildpacks/hostile` in a sandbox.
@Suite("A hostile buildpack", .serialized, .timeLimit(.minutes(10)))
struct HostileBuildpackTests {
    private static let hostUser: UInt32 = 1_900_000_002

    /// Runs its compile for an app that asks for a mode, and expects that no process of it is left.
    private static func with(
        _ mode: String, time: Duration = .seconds(60), output: Int64 = 32 << 20,
        _ body: @Sendable (SandboxTests.Run, Sandbox) async throws -> Void
    ) async throws {
        try await SandboxTests.with(user: hostUser) { given in
            var sandbox = given
            (sandbox.limits.time, sandbox.limits.output) = (time, output)
            let workspace = sandbox.directory + "/../workspace"
            try FileManager.default.createDirectory(atPath: workspace + "/app", withIntermediateDirectories: true)
            try Data("\(mode)\n".utf8).write(to: URL(fileURLWithPath: workspace + "/app/hostile-mode"))
            // What lies beside the step's directories, as the token of an upload may.
            try Data("secret of a file".utf8).write(to: URL(fileURLWithPath: sandbox.directory + "/../token"))
            sandbox.mounts = [
                .init(source: workspace, target: "/recipe_workspace"),
                .init(source: Programs.repository + "/fixtures/buildpacks", target: "/var/lib/buildpacks"),
            ]
            let run = try await SandboxTests.run(
                sandbox,
                "cp -r /recipe_workspace/app . && exec /var/lib/buildpacks/hostile/bin/compile /home/vcap/app /tmp")
            #expect(run.text.hasPrefix("hostile: \(mode)\n"), "\(run)")
            try await waitUntil("nothing of it is left") { try SandboxTests.processes(of: hostUser).isEmpty }
            try await body(run, sandbox)
        }
    }

    @Test("finds no secrets in environments, files and memory of others")
    func secrets() async throws {
        let other = try ChildProcess(
            "sleep", ["1000"], environment: ["TOKEN": "secret of a process"], log: "/dev/null")
        defer { other.signal(SIGKILL) }
        try await Self.with("read-secrets") { run, _ in
            #expect(run.end == .exited(0))
            #expect(run.text.contains("GREETING=hello"), "what it is given it may read")
            #expect(!run.text.contains("secret of a"), "\(run)")
        }
    }

    @Test("opens no file for writing that is not its own")
    func outside() async throws {
        try await Self.with("write-outside") { run, _ in
            #expect(run.end == .exited(0) && !run.text.contains("opened"), "\(run)")
        }
    }

    @Test("hangs no longer than it may", arguments: ["hang", "fork-bomb"])
    func hanging(mode: String) async throws {
        try await Self.with(mode, time: .seconds(3)) { run, _ in
            // A shell of the bomb that may not fork ends.
            #expect(run.end == .timedOut || mode == "fork-bomb", "\(run)")
        }
    }

    @Test("prints no more than it may")
    func printing() async throws {
        try await Self.with("print-without-end", output: 1 << 20) { run, _ in
            #expect(run.end == .printedTooMuch && run.text.utf8.count <= 1 << 20)
        }
    }

    @Test("fills no disk but its own")
    func disk() async throws {
        try await Self.with("fill-disk") { run, sandbox in
            #expect(run.end == .exited(0) && run.text.contains("No space left on device"), "\(run)")
            let written = try await sandbox.withFiles(of: "/tmp") { directory in
                try FileManager.default.attributesOfItem(atPath: directory + "/fill")[.size] as? Int64
            }
            #expect((written ?? .max) <= sandbox.limits.disk)
        }
    }

    @Test("leaves nobody behind")
    func daemon() async throws {
        try await Self.with("leave-daemon") { run, _ in #expect(run.end == .exited(0), "\(run)") }
    }

    @Test("has no other file uploaded for the droplet")
    func links() async throws {
        try await Self.with("replace-droplet-by-link") { run, sandbox in
            #expect(run.end == .exited(0))
            try await sandbox.withFiles(of: "/out") { directory in
                for name in ["droplet.tgz", "result.json", "cache.tgz"] {
                    let target = try FileManager.default.destinationOfSymbolicLink(atPath: directory + "/" + name)
                    #expect(target == "/recipe_workspace/environment.json")
                    #expect(throws: TransferFailure.self) {
                        try UploadFile.made(name, in: directory, limit: 1 << 20)
                    }
                }
            }
        }
    }
}
