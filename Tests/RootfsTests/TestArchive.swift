import Images
import ImagesTesting
import JSON
import Layers
import OCI
import Rootfs
import TestSupport

/// An image archive in memory, which can be wrong in many ways.
struct TestArchive {
    private var blobs: [Digest: [UInt8]] = [:]
    private var configs: [Digest] = []

    mutating func add(_ bytes: [UInt8], _ type: MediaType) -> Descriptor {
        let digest = Digest.of(bytes)
        blobs[digest] = bytes
        return Descriptor(mediaType: type, digest: digest, size: Int64(bytes.count))
    }

    mutating func addImage(
        _ layers: [[UInt8]], _ architecture: String = "amd64", diffIDs: [Digest]? = nil, type: MediaType = .ociLayer,
        sizeOff: Int64 = 0
    ) -> Descriptor {
        let platform = Platform(architecture: architecture)
        let config = ImageConfig(
            created: nil, platform: platform, execution: ImageConfig.Execution(),
            diffIDs: diffIDs ?? layers.map { Digest.of($0) }, history: [])
        let configDescriptor = add(config.json.canonicalBytes, .ociConfig)
        configs.append(configDescriptor.digest)
        let manifest = Manifest(
            mediaType: .ociManifest, config: configDescriptor,
            layers: layers.map { bytes in
                var layer = add(bytes, type)
                layer.size += sizeOff
                return layer
            })
        return add(manifest.json.canonicalBytes, .ociManifest)
    }

    mutating func addIndex(_ manifests: [Descriptor]) -> Descriptor {
        add(Index(mediaType: .ociIndex, manifests: manifests).json.canonicalBytes, .ociIndex)
    }

    mutating func damage(_ digest: Digest) { blobs[digest]?[700] ^= 1 }
    mutating func remove(_ digest: Digest) { blobs[digest] = nil }
    mutating func removeConfigs() { for config in configs { blobs[config] = nil } }

    func bytes(of digest: Digest) -> [UInt8] { blobs[digest] ?? [] }

    /// As a tar of an OCI layout, with what names the blobs at the end.
    func layout(_ manifests: [Descriptor], change: ImageArchiveTests.Fault? = nil) -> [UInt8] {
        var entries: [TestTar.Entry] = [.directory("./blobs"), .directory("./blobs/sha256")]
        for (digest, bytes) in blobs { entries.append(.program("./blobs/sha256/\(digest.hex)", bytes)) }
        var index = Index(mediaType: .ociIndex, manifests: manifests).json.canonicalBytes
        if change == .notJSON { index.removeLast() }
        if change != .noIndex { entries.append(.program("index.json", index)) }
        if change == .twice { entries.append(.program("./index.json", index)) }
        if change == .outside { entries.append(.symbolicLink("blobs/x", to: "../../etc/passwd")) }
        if change == .device { entries.append(.fifo("pipe")) }
        if change != .noLayout { entries.append(.file("oci-layout", #"{"imageLayoutVersion":"1.0.0"}"#)) }
        return TestTar(entries).bytes
    }
}

extension TestArchive {
    /// What `docker save` of Docker 20.10 writes.
    /// - Parameters:
    ///   - links: a layer that comes again is a link to where it was.
    ///   - loop: the layer is a link to itself.
    static func docker(
        _ layers: [[UInt8]], links: Bool, diffIDs: [Digest]? = nil, architecture: String = "amd64", loop: Bool = false
    ) -> (bytes: [UInt8], image: Digest) {
        let config = ImageConfig(
            created: nil, platform: Platform(architecture: architecture), execution: ImageConfig.Execution(),
            diffIDs: diffIDs ?? layers.map { Digest.of($0) }, history: []
        ).json.canonicalBytes
        let image = Digest.of(config)
        var entries: [TestTar.Entry] = []
        var names: [String] = []
        var places: [Digest: String] = [:]
        for (index, layer) in layers.enumerated() {
            let id = Digest.of("layer \(index)".utf8).hex
            entries += [.directory(id), .file("\(id)/VERSION", "1.0"), .file("\(id)/json", "{}")]
            if loop {
                entries.append(.symbolicLink("\(id)/layer.tar", to: "../\(id)/layer.tar"))
            } else if links, let other = places[Digest.of(layer)] {
                entries.append(.symbolicLink("\(id)/layer.tar", to: "../\(other)/layer.tar"))
            } else {
                entries.append(.program("\(id)/layer.tar", layer))
                places[Digest.of(layer)] = id
            }
            names.append("\(id)/layer.tar")
        }
        entries.append(.program("\(image.hex).json", config))
        let manifest: JSONValue = [
            [
                "Config": .string("\(image.hex).json"), "RepoTags": ["a:1"],
                "Layers": .array(names.map { .string($0) }),
            ]
        ]
        entries.append(.program("manifest.json", manifest.canonicalBytes))
        entries.append(.file("repositories", "{}"))
        return (TestTar(entries).bytes, image)
    }
}

/// A layer in memory.
struct MemoryLayer: LayerSource {
    let stored: [UInt8]
    let diffID: Digest?

    func bytes() -> Chunks { Chunks(stored) }
}

extension TestHouse {
    /// Why something is not imported.
    func refusal(_ bytes: [UInt8], _ source: RootfsSource) async throws -> String {
        do {
            _ = try await take(bytes, source: source)
            return "it was taken"
        } catch let error as ImageError {
            return "\(error)"
        }
    }
}
