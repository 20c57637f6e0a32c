import TestSupport

/// podman on overlayfs, with all its state in a directory of its own.
struct Podman: ContainerClient {
    let name = "podman"
    let registry: RegistryAccess
    private let directory: String
    private let certificates: String

    init(_ registry: RegistryAccess, in directory: String) async throws {
        self.registry = registry
        self.directory = directory
        certificates = try await registry.certificateDirectory(in: directory)
    }

    func pull(_ image: String) async throws {
        try await podman(["pull", "--quiet", "--cert-dir", certificates] + registry.credentials("--creds") + [image])
    }

    func pull(_ image: String, architecture: String) async throws {
        try await podman(
            ["pull", "--quiet", "--arch", architecture, "--cert-dir", certificates] + registry.credentials("--creds")
                + [image])
    }

    func architecture(of image: String) async throws -> String {
        try await podman(["image", "inspect", "--format", "{{.Architecture}}", image]).output
    }

    func push(_ image: String) async throws {
        try await podman(["push", "--quiet", "--cert-dir", certificates] + registry.credentials("--creds") + [image])
    }

    func tag(_ image: String, as name: String) async throws { try await podman(["tag", image, name]) }

    func load(_ archive: String, named name: String) async throws {
        try await podman(["load", "--quiet", "--input", archive])
    }

    func identity(of image: String) async throws -> String {
        try await podman(["image", "inspect", "--format", "{{.Id}}", image]).output
    }

    func remove(_ image: String) async throws { try await podman(["rmi", "--force", image]) }

    func start(_ container: String, of image: String, environment: [String: String], arguments: [String]) async throws {
        // Without CAP_SYS_RESOURCE podman's wish for higher limits would fail.
        let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
        let variables = environment.flatMap { ["--env", "\($0)=\($1)"] }
        try await podman(
            ["run", "--detach", "--pull", "never", "--network", "host", "--name", container] + limits + variables
                + [image] + arguments)
    }

    func stop(_ container: String) async throws -> Int32 {
        try await podman(["stop", "--time", "8", container])
        let status = try await podman(["inspect", "--format", "{{.State.ExitCode}}", container]).output
        try await podman(["rm", "--force", container])
        return Int32(status) ?? -1
    }

    func execute(_ words: [String], in container: String) async throws -> String {
        try await podman(["exec", container] + words).output
    }

    func output(of container: String) async throws -> String {
        try await podman(["logs", container]).output
    }

    /// Gives the image's files, as overlayfs shows them, to the body.
    func withFiles<Value>(of image: String, _ body: (String) async throws -> Value) async throws -> Value {
        let path = try await podman(["image", "mount", image]).output
        let value = try await body(path)
        try await podman(["image", "unmount", image])
        return value
    }

    func shutDown() async throws {
        try await podman(["rm", "--all", "--force", "--time", "0"])
        try await podman(["image", "unmount", "--all"])
    }

    @discardableResult
    private func podman(_ arguments: [String]) async throws -> CommandResult {
        let state = [
            "--root", directory + "/root", "--runroot", directory + "/runroot", "--tmpdir", directory + "/tmp",
            "--storage-driver", "overlay", "--cgroup-manager", "cgroupfs", "--events-backend", "none",
            "--runtime", "runc",
        ]
        return try await runSuccessfully(
            "podman", state + arguments, environment: ["HOME": directory, "XDG_RUNTIME_DIR": directory],
            timeout: .seconds(120))
    }
}
