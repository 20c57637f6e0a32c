import Foundation
import TestSupport

/// skopeo, with its configuration in a directory of its own.
struct Skopeo {
    let registry: RegistryAccess
    let certificates: String
    private let environment: [String: String]

    init(_ registry: RegistryAccess, in directory: String) async throws {
        self.registry = registry
        certificates = try await registry.certificateDirectory(in: directory)
        environment = ["HOME": directory, "XDG_RUNTIME_DIR": directory]
    }

    struct Inspection: Decodable {
        let digest: String
        let layers: [String]
        let architecture: String
        let os: String

        enum CodingKeys: String, CodingKey {
            case digest = "Digest"
            case layers = "Layers"
            case architecture = "Architecture"
            case os = "Os"
        }
    }

    func inspect(_ image: String) async throws -> Inspection {
        let result = try await skopeo(
            ["inspect", "--no-tags", "--cert-dir", certificates] + registry.credentials("--creds") + [
                "docker://" + image
            ])
        return try JSONDecoder().decode(Inspection.self, from: Data(result.stdout))
    }

    func tags(_ repository: String) async throws -> [String] {
        struct Tags: Decodable { let Tags: [String] }
        let result = try await skopeo(
            ["list-tags", "--cert-dir", certificates] + registry.credentials("--creds") + ["docker://" + repository])
        return try JSONDecoder().decode(Tags.self, from: Data(result.stdout)).Tags
    }

    /// Copies an image into an OCI layout, which checks every digest and diffID on the way.
    func copy(_ image: String, toLayout layout: String, tag: String = "image") async throws {
        try await skopeo(
            ["copy", "--quiet", "--src-cert-dir", certificates] + registry.credentials("--src-creds")
                + ["docker://" + image, "oci:\(layout):\(tag)"])
    }

    /// Pushes an image from anywhere, such as `oci:DIR:TAG`, `docker-archive:FILE` or `dir:DIR`.
    /// - Parameter options: of `skopeo copy`.
    func push(_ source: String, to image: String, _ options: [String] = []) async throws {
        try await skopeo(
            ["copy", "--quiet", "--dest-cert-dir", certificates] + registry.credentials("--dest-creds") + options + [
                source, "docker://" + image,
            ])
    }

    /// Copies an image to anywhere.
    func pull(_ image: String, to target: String, _ options: [String] = []) async throws {
        try await skopeo(
            ["copy", "--quiet", "--src-cert-dir", certificates] + registry.credentials("--src-creds") + options + [
                "docker://" + image, target,
            ])
    }

    /// Deletes the manifest that an image's name stands for.
    func delete(_ image: String) async throws {
        try await skopeo(
            ["delete", "--cert-dir", certificates] + registry.credentials("--creds") + ["docker://" + image])
    }

    /// Tries to read an image's manifest with other credentials; nil: none.
    func attempt(_ image: String, credentials: String?) async throws -> CommandResult {
        try await run(
            "skopeo",
            ["inspect", "--no-tags", "--cert-dir", certificates]
                + (credentials.map { ["--creds", $0] } ?? ["--no-creds"]) + ["docker://" + image],
            environment: environment)
    }

    @discardableResult
    private func skopeo(_ arguments: [String]) async throws -> CommandResult {
        try await runSuccessfully("skopeo", arguments, environment: environment, timeout: .seconds(120))
    }
}
