import TestSupport

/// buildah, with all its state in a directory of its own.
struct Buildah {
    let registry: RegistryAccess
    private let directory: String
    private let certificates: String

    init(_ registry: RegistryAccess, in directory: String) async throws {
        self.registry = registry
        self.directory = directory
        certificates = try await registry.certificateDirectory(in: directory)
    }

    /// Makes an image of one file on nothing.
    func build(_ image: String, file: String, format: String) async throws {
        let container = try await buildah(["from", "scratch"]).output
        try await buildah(["copy", container, file, "/file"])
        try await buildah(["config", "--cmd", "/file", container])
        try await buildah(["commit", "--quiet", "--rm", "--format", format, container, image])
    }

    /// - Returns: the manifest's digest.
    func push(_ image: String, format: String) async throws -> String {
        try await buildah(
            [
                "push", "--quiet", "--format", format, "--cert-dir", certificates,
                "--digestfile", directory + "/digest",
            ] + registry.credentials("--creds") + [image])
        return try await runSuccessfully("cat", [directory + "/digest"]).output
    }

    func pull(_ image: String) async throws {
        try await buildah(
            ["pull", "--quiet", "--policy", "always", "--cert-dir", certificates] + registry.credentials("--creds")
                + [image])
    }

    /// The config's digest.
    func identity(of image: String) async throws -> String {
        try await buildah(["images", "--no-trunc", "--format", "{{.ID}}", image]).output
    }

    func remove(_ image: String) async throws { try await buildah(["rmi", "--force", image]) }

    @discardableResult
    private func buildah(_ arguments: [String]) async throws -> CommandResult {
        let state = [
            "--root", directory + "/root", "--runroot", directory + "/runroot", "--storage-driver", "vfs",
        ]
        return try await runSuccessfully(
            "buildah", state + arguments,
            environment: ["HOME": directory, "XDG_RUNTIME_DIR": directory, "BUILDAH_ISOLATION": "chroot"],
            timeout: .seconds(120))
    }
}
