import Foundation
import TestSupport

/// An image to push: the tiny rootfs in a layer, made by umoci, in a layout on disk.
struct SourceImage {
    let layout: String
    /// The same as `docker save` would write it, called `NAME`.
    let archive: String
    static let name = "localhost/cistern-test:source"
    /// The manifest's digest.
    let digest: String

    init(in directory: String) async throws {
        layout = directory + "/source"
        archive = directory + "/source.tar"
        let tar = directory + "/rootfs.tar"
        try await runSuccessfully("sh", ["-c", "gzip -dc \"$1\" > \"$2\"", "sh", try await Fixtures.tinyRootfs(), tar])
        try await Umoci.build(layout: layout, tar: tar)
        try await runSuccessfully(
            "skopeo", ["copy", "--quiet", "oci:\(layout):image", "docker-archive:\(archive):\(Self.name)"])
        digest = try await Self.digest(inLayout: layout)
    }

    /// The digest of a layout's one manifest.
    static func digest(inLayout layout: String) async throws -> String {
        struct Index: Decodable {
            struct Entry: Decodable { let digest: String }
            let manifests: [Entry]
        }
        let data = try Data(contentsOf: URL(fileURLWithPath: layout + "/index.json"))
        let index = try JSONDecoder().decode(Index.self, from: data)
        guard index.manifests.count == 1 else { throw CommandError.notFound("one manifest in \(layout)") }
        return index.manifests[0].digest
    }

    /// The names of a layout's blobs, which are their digests.
    static func blobs(inLayout layout: String) throws -> Set<String> {
        Set(try FileManager.default.contentsOfDirectory(atPath: layout + "/blobs/sha256"))
    }
}

extension RunningServer {
    /// The digest that a tag stands for, as the registry says it.
    func digest(_ repository: String, _ tag: String) async throws -> String? {
        let answer = try await request(
            "HEAD", "/v2/\(repository)/manifests/\(tag)", as: .operator,
            headers: ["Accept": "application/vnd.oci.image.manifest.v1+json, */*"])
        return answer.status == 200 ? answer.header("Docker-Content-Digest") : nil
    }
}
