import Blobs
import JSON
import Logging
import OCI
import ObjectStore

/// Fills a store with repositories as pushes leave them.
/// - Parameter onlyGarbage: puts back only what a collection takes.
func fillRepositories(_ root: String, blobs: Int, repositories: Int, onlyGarbage: Bool) async throws {
    let store = try FilesystemObjectStore(
        root: root, logger: Logger(label: "fill-store") { StreamLogHandler.standardError(label: $0) })
    // Their leases are as old as can be.
    let contents = BlobStore(store: store, now: { 0 })
    let perRepository = blobs / repositories
    var number = 0

    func put(_ key: String, _ json: JSONValue) async throws {
        try await store.put(try ObjectKey(key), json.canonicalBytes, if: .always)
    }

    /// A blob and its place in a repository.
    func blob(_ bytes: [UInt8], in name: String, as kind: String) async throws -> Digest {
        number += 1
        let digest = try await contents.put(bytes).digest
        if kind == "_blobs" {
            try await put("repositories/\(name)/_blobs/sha256/\(digest.hex)", ["size": .integer(bytes.count)])
        }
        return digest
    }

    for index in 0..<repositories {
        let name = "bench/r\(index)"
        var digests: [Digest] = []
        // The last tenth is named by nothing.
        let namedCount = perRepository - perRepository / 10 - 1
        for place in (onlyGarbage ? namedCount : 0)..<(perRepository - 1) {
            let content = Array("blob \(index * perRepository + place)".utf8)
            digests.append(try await blob(content, in: name, as: "_blobs"))
        }
        if onlyGarbage { continue }
        let named = digests.prefix(namedCount)
        let descriptors = named.map { Descriptor(mediaType: .ociLayerGzip, digest: $0, size: 8) }
        let manifest = Manifest(
            mediaType: .ociManifest, config: descriptors[0], layers: Array(descriptors.dropFirst()),
            annotations: ["name": name]
        ).json.canonicalBytes
        let digest = try await blob(manifest, in: name, as: "_manifests")
        try await put(
            "repositories/\(name)/_manifests/sha256/\(digest.hex)",
            [
                "generation": "1", "mediaType": .string(MediaType.ociManifest.text), "pushed": 0,
                "references": .array(named.map { .string($0.description) }), "size": .integer(manifest.count),
            ])
        try await put(
            "repositories/\(name)/_tags/1", ["digest": .string(digest.description), "generation": "1"])
        try await put("catalog/bench!r\(index)", [:])
    }
    try await store.close()
    print("\(number) blobs")
}
