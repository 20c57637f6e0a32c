import Foundation
import TestSupport
import Testing

@Suite("Clients with a login and without one", .serialized)
struct AuthenticationTests {
    /// Pulls an image with each client, each with an empty state.
    /// - Returns: the names of those that could.
    private static func pullers(of image: String, _ access: RegistryAccess) async -> Set<String> {
        let pulls: [(name: String, pull: (String) async throws -> Void)] = [
            ("skopeo", { try await Skopeo(access, in: $0).copy(image, toLayout: $0 + "/layout") }),
            ("buildah", { try await Buildah(access, in: $0).pull(image) }),
            ("podman", { _ in try await withClient(Podman.init, access) { try await $0.pull(image) } }),
            ("containerd", { _ in try await withClient(Containerd.init, access) { try await $0.pull(image) } }),
            ("docker", { _ in try await withClient(Docker.init, access) { try await $0.pull(image) } }),
        ]
        var names: Set<String> = []
        for (name, pull) in pulls {
            do {
                try await withTemporaryDirectory(pull)
                names.insert(name)
            } catch { print("\(name) could not pull: \(error)") }
        }
        return names
    }

    /// CRI-O fetches as skopeo does: both are made of c/image.
    private static let all: Set<String> = ["skopeo", "buildah", "podman", "containerd", "docker"]

    @Test(
        "With a login all of them pull; without one all of them with tokens, and without tokens all but docker",
        arguments: ["on", "off"])
    func pull(tokens: String) async throws {
        try await withServer(arguments: ["--auth-token", tokens]) { server in
            try await server.importTinyRootfs()
            let image = try await server.upload(Fixtures.sample("static"), guid: "site").image
            #expect(await Self.pullers(of: image, try server.access(as: .pull)) == Self.all)
            // What the policy gives to nobody it does not give to nobody in particular either.
            #expect(await Self.pullers(of: image, try server.access(as: nil)) == [])
            let policy = server.directory + "/policy.yaml"
            let text = try String(contentsOfFile: policy, encoding: .utf8)
            try Data((text + "anonymous:\n  repositories:\n    \"cloudfoundry/*\": [pull]\n").utf8)
                .write(to: URL(fileURLWithPath: policy))
            try await waitUntil("the policy to be taken") {
                try await server.request("GET", "/v2/cloudfoundry/site/tags/list", as: nil).status == 200
            }
            let expected = tokens == "on" ? Self.all : Self.all.subtracting(["docker"])
            #expect(await Self.pullers(of: image, try server.access(as: nil)) == expected)
        }
    }
}
