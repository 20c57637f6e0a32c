import JSON
import OCI
import TestSupport
import Testing

/// A droplet's image as a client takes it apart.
struct Image {
    let repository: String
    let digest: String
    let manifest: JSONValue
    let config: JSONValue

    /// Bottom up: rootfs, lifecycle, droplet.
    var layers: [JSONValue] { manifest["layers"]?.array ?? [] }
    var layerDigests: [String] { layers.compactMap { $0["digest"]?.string } }
    var configDigest: String { manifest["config"]?["digest"]?.string ?? "" }

    /// Fetches manifest and config and checks both against their digests.
    init(
        _ reference: String, of repository: String, from client: Client, as user: String = "pull"
    ) async throws {
        let answer = try await client.get("/v2/\(repository)/manifests/\(reference)", as: user)
        try #require(answer.status == 200, "\(answer.text)")
        self.repository = repository
        digest = Digest.of(answer.body).description
        try #require(answer["Docker-Content-Digest"] == digest)
        manifest = answer.json
        let descriptor = try #require(manifest["config"]?["digest"]?.string)
        let config = try await client.get("/v2/\(repository)/blobs/\(descriptor)", as: user)
        try #require(config.status == 200 && Digest.of(config.body).description == descriptor)
        self.config = config.json
    }

    /// Fetches layers and checks size and digest.
    /// - Parameter all: the rootfs and the lifecycle layer too, which are the same in many images.
    func verifyLayers(all: Bool = true, from client: Client, as user: String = "pull") async throws {
        #expect(layers.count >= 3)
        for layer in layers.dropFirst(all ? 0 : 2) {
            let digest = layer["digest"]?.string ?? ""
            let answer = try await client.get("/v2/\(repository)/blobs/\(digest)", as: user)
            #expect(answer.status == 200 && Int64(answer.body.count) == layer["size"]?.integer)
            #expect(Digest.of(answer.body).description == digest)
        }
    }
}

extension World {
    /// Uploads a droplet as an operator, named by its SHA-256.
    @discardableResult
    func upload(_ droplet: Droplet, guid: String) async throws -> Answer {
        let answer = try await client.send(
            "PUT", "/droplets/\(guid)/\(droplet.sha256)", as: "operator", body: droplet.bytes)
        try #require(answer.status == 201, "\(answer.text)")
        return answer
    }
}
