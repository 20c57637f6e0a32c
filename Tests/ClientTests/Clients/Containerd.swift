import Foundation
import TestSupport

/// containerd started by hand and its client `ctr`, with the overlayfs snapshotter.
struct Containerd: ContainerClient {
    let name = "containerd"
    let registry: RegistryAccess
    private let directory: String
    private let daemon: ChildProcess

    init(_ registry: RegistryAccess, in directory: String) async throws {
        self.registry = registry
        self.directory = directory
        let hosts = "\(directory)/hosts/\(registry.address)"
        try FileManager.default.createDirectory(atPath: hosts, withIntermediateDirectories: true)
        try """
        server = "https://\(registry.address)"
        [host."https://\(registry.address)"]
          capabilities = ["pull", "resolve", "push"]
          ca = "\(registry.certificateAuthority)"
        """.write(toFile: hosts + "/hosts.toml", atomically: true, encoding: .utf8)
        try """
        version = 2
        root = "\(directory)/root"
        state = "\(directory)/state"
        disabled_plugins = ["io.containerd.grpc.v1.cri"]
        [grpc]
          address = "\(directory)/containerd.sock"
        [ttrpc]
          address = "\(directory)/containerd.ttrpc"
        [plugins."io.containerd.internal.v1.opt"]
          path = "\(directory)/opt"
        """.write(toFile: directory + "/config.toml", atomically: true, encoding: .utf8)
        daemon = try ChildProcess("containerd", ["--config", directory + "/config.toml"], log: directory + "/log")
        do {
            let daemon = daemon
            let socket = directory + "/containerd.sock"
            try await waitUntil("containerd") {
                guard daemon.isRunning else { throw CommandError.notStarted("containerd: see its log", 0) }
                return try await run("ctr", ["--address", socket, "version"]).status == 0
            }
        } catch {
            print((try? String(contentsOfFile: directory + "/log", encoding: .utf8)) ?? "")
            try await daemon.stop()
            throw error
        }
    }

    func pull(_ image: String) async throws {
        try await ctr(
            ["images", "pull", "--hosts-dir", directory + "/hosts", "--snapshotter", "overlayfs"]
                + registry.credentials("--user") + [image])
    }

    func push(_ image: String) async throws {
        try await ctr(
            ["images", "push", "--hosts-dir", directory + "/hosts"] + registry.credentials("--user") + [image])
    }

    func tag(_ image: String, as name: String) async throws { try await ctr(["images", "tag", image, name]) }

    func load(_ archive: String, named name: String) async throws {
        try await ctr(["images", "import", "--snapshotter", "overlayfs", archive])
    }

    func identity(of image: String) async throws -> String {
        let rows = try await ctr(["images", "list", "name==\(image)"]).output.split(separator: "\n")
        guard rows.count == 2, let digest = rows[1].firstMatch(of: /sha256:[0-9a-f]{64}/) else {
            throw CommandError.notFound("\(image) in \(rows)")
        }
        return String(digest.0)
    }

    func remove(_ image: String) async throws { try await ctr(["images", "remove", "--sync", image]) }

    func start(_ container: String, of image: String, environment: [String: String], arguments: [String]) async throws {
        let variables = environment.flatMap { ["--env", "\($0)=\($1)"] }
        try await ctr(
            [
                "run", "--detach", "--net-host", "--snapshotter", "overlayfs", "--log-uri",
                "file://" + log(of: container),
            ]
                + variables + [image, container] + arguments)
    }

    func stop(_ container: String) async throws -> Int32 {
        try await ctr(["tasks", "kill", "--signal", "SIGTERM", container])
        do {
            try await waitUntil("the end of \(container)") {
                try await ctr(["tasks", "list"]).output.split(separator: "\n").contains {
                    $0.hasPrefix(container + " ") && $0.contains("STOPPED")
                }
            }
        } catch is TimedOut {
            try await ctr(["tasks", "kill", "--signal", "SIGKILL", container])
        }
        // ctr ends with 0 and tells the task's own status in a warning.
        let said = try await ctr(["tasks", "delete", container]).errors
        let status = said.firstMatch(of: /non-zero exit code (\d+)/).flatMap { Int32($0.1) } ?? 0
        try await ctr(["containers", "delete", container])
        return status
    }

    func execute(_ words: [String], in container: String) async throws -> String {
        try await ctr(["tasks", "exec", "--exec-id", "one", container] + words).output
    }

    func output(of container: String) async throws -> String {
        try String(contentsOfFile: log(of: container), encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// Gives the image's files, as overlayfs shows them, to the body.
    func withFiles<Value>(of image: String, _ body: (String) async throws -> Value) async throws -> Value {
        let target = directory + "/mounted"
        try await runSuccessfully("mkdir", ["-p", target])
        try await ctr(["images", "mount", "--snapshotter", "overlayfs", image, target])
        let value = try await body(target)
        try await ctr(["images", "unmount", "--rm", "--snapshotter", "overlayfs", target])
        return value
    }

    /// The chain ids of the layers that are unpacked.
    func snapshots() async throws -> Set<String> {
        let rows = try await ctr(["snapshots", "--snapshotter", "overlayfs", "list"]).output.split(separator: "\n")
        return Set(rows.dropFirst().compactMap { $0.split(separator: " ").first.map(String.init) })
    }

    func shutDown() async throws {
        let tasks = try await run("ctr", ["--address", directory + "/containerd.sock", "tasks", "list", "--quiet"])
        for task in tasks.output.split(separator: "\n") {
            _ = try await run(
                "ctr", ["--address", directory + "/containerd.sock", "tasks", "delete", "--force", String(task)])
        }
        try await daemon.stop()
    }

    private func log(of container: String) -> String { "\(directory)/\(container).log" }

    @discardableResult
    private func ctr(_ arguments: [String]) async throws -> CommandResult {
        try await runSuccessfully(
            "ctr", ["--address", directory + "/containerd.sock"] + arguments, timeout: .seconds(120))
    }
}
