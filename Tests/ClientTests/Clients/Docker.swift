import Foundation
import TestSupport

/// dockerd started by hand and its client, without touching the machine's network.
struct Docker: ContainerClient {
    let name = "docker"
    let registry: RegistryAccess
    private let directory: String
    private let daemon: ChildProcess

    init(_ registry: RegistryAccess, in directory: String) async throws {
        self.registry = registry
        self.directory = directory
        try "{}".write(toFile: directory + "/daemon.json", atomically: true, encoding: .utf8)
        daemon = try ChildProcess(
            "dockerd",
            [
                "--config-file", directory + "/daemon.json", "--data-root", directory + "/root",
                "--exec-root", directory + "/exec", "--pidfile", directory + "/pid",
                "--host", "unix://\(directory)/docker.sock", "--storage-driver", "overlay2",
                "--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false",
            ], log: directory + "/log")
        do {
            let daemon = daemon
            let socket = "unix://\(directory)/docker.sock"
            try await waitUntil("dockerd") {
                guard daemon.isRunning else { throw CommandError.notStarted("dockerd: see its log", 0) }
                return try await run("docker", ["--host", socket, "info"]).status == 0
            }
            if let login = registry.login {
                try await docker(
                    ["login", "--username", login.user, "--password-stdin", registry.address], input: login.password)
            }
        } catch {
            print((try? String(contentsOfFile: directory + "/log", encoding: .utf8)) ?? "")
            try await daemon.stop()
            throw error
        }
    }

    func pull(_ image: String) async throws {
        try await docker(["pull", "--quiet", image])
    }

    func push(_ image: String) async throws { try await docker(["push", "--quiet", image]) }

    func tag(_ image: String, as name: String) async throws { try await docker(["tag", image, name]) }

    func load(_ archive: String, named name: String) async throws {
        try await docker(["load", "--quiet", "--input", archive])
    }

    func save(_ image: String, to archive: String) async throws {
        try await docker(["save", "--output", archive, image])
    }

    func identity(of image: String) async throws -> String {
        try await docker(["image", "inspect", "--format", "{{.Id}}", image]).output
    }

    func remove(_ image: String) async throws { try await docker(["rmi", "--force", image]) }

    func start(_ container: String, of image: String, environment: [String: String], arguments: [String]) async throws {
        let variables = environment.flatMap { ["--env", "\($0)=\($1)"] }
        try await docker(
            ["run", "--detach", "--pull", "never", "--network", "host", "--name", container] + variables + [image]
                + arguments)
    }

    func stop(_ container: String) async throws -> Int32 {
        try await docker(["stop", "--time", "8", container])
        let status = try await docker(["inspect", "--format", "{{.State.ExitCode}}", container]).output
        try await docker(["rm", "--force", container])
        return Int32(status) ?? -1
    }

    func execute(_ words: [String], in container: String) async throws -> String {
        try await docker(["exec", container] + words).output
    }

    func output(of container: String) async throws -> String {
        try await docker(["logs", container]).output
    }

    /// What docker itself puts into each container, at that moment.
    private static let own = Set(
        [
            ".dockerenv", "dev", "dev/console", "dev/pts", "dev/shm", "etc", "etc/hostname", "etc/hosts", "etc/mtab",
            "etc/resolv.conf",
        ].map { Array($0.utf8) })

    /// The files of a container of the image, as `docker export` writes them; without the times of docker's own.
    func tree(of image: String) async throws -> FileTree {
        try await withFiles(of: image) { directory in
            try FileTree(of: directory).mapped { name, entry in
                if Self.own.contains(name) { entry.modified = .zero }
            }
        }
    }

    private func withFiles<Value>(of image: String, _ body: (String) async throws -> Value) async throws -> Value {
        let container = try await docker(["create", "--pull", "never", image]).output
        let target = directory + "/exported"
        try await docker(["export", "--output", target + ".tar", container])
        try await docker(["rm", container])
        try await runSuccessfully("mkdir", [target])
        try await runSuccessfully("tar", ["-xpf", target + ".tar", "--numeric-owner", "-C", target])
        let value = try await body(target)
        try await runSuccessfully("rm", ["-r", target, target + ".tar"])
        return value
    }

    func shutDown() async throws {
        let containers = try await docker(["ps", "--all", "--quiet"]).output.split(separator: "\n").map(String.init)
        if !containers.isEmpty { try await docker(["rm", "--force"] + containers) }
        try await daemon.stop(grace: .seconds(20))
    }

    @discardableResult
    private func docker(_ arguments: [String], input: String = "") async throws -> CommandResult {
        try await runSuccessfully(
            "docker", ["--host", "unix://\(directory)/docker.sock", "--config", directory + "/client"] + arguments,
            input: input, timeout: .seconds(120))
    }
}
