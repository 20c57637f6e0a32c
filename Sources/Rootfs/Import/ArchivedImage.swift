import JSON
import Layers
import OCI

/// The image of an archive that is taken, its documents verified and its layers found.
struct ArchivedImage {
    /// The manifest's digest; in a docker-archive, which has none, the configuration's.
    let digest: Digest
    /// Bottom up. Their diffIDs are checked when they are read.
    let layers: [ArchivedLayer]
    /// What a signature may be of: the manifest, or an index that leads to it. Empty in a docker-archive.
    let signable: [[UInt8]]
}

extension ArchivedImage {
    /// From a tar of an OCI layout (OCI image specification, image-layout.md).
    /// - Throws: `UnsuitableImage`, `BlobError`, `ObjectStoreError`.
    init(layout archive: ImageArchive, architecture: Architecture, digest: Digest?) async throws {
        let layout = try? JSONValue(parsing: try await archive.document("oci-layout"))
        guard layout?["imageLayoutVersion"]?.string?.hasPrefix("1.") == true else {
            throw UnsuitableImage("the archive has no oci-layout of version 1")
        }
        let index: Index
        do { index = try Index(json: try JSONValue(parsing: try await archive.document("index.json"))) } catch {
            guard error is OCIError || error is JSONError else { throw error }
            throw UnsuitableImage("index.json: \(error)")
        }
        let finder = ImageFinder(architecture: architecture.rawValue) { descriptor in
            try await archive.document(ImageArchive.path(descriptor.digest))
        }
        let found = try await finder.find(in: index.manifests, digest: digest)
        self.digest = found.digest
        signable = found.documents.map(\.bytes)
        var layers: [ArchivedLayer] = []
        for (layer, diffID) in zip(found.manifest.layers, found.diffIDs) {
            guard let file = archive.blob(layer.digest) else {
                throw UnsuitableImage("the archive has no layer \(layer.digest)")
            }
            guard file.size == layer.size else {
                throw UnsuitableImage("the layer \(layer.digest) has \(file.size) bytes, not \(layer.size)")
            }
            layers.append(ArchivedLayer(file: file, diffID: diffID))
        }
        self.layers = layers
    }
}

extension ArchivedImage {
    private static let maximumImages = 100

    /// From what `docker save` wrote, or skopeo as `docker-archive:`.
    /// - Parameter wanted: the digest of its configuration, by which docker calls it.
    /// - Throws: as above.
    init(dockerArchive archive: ImageArchive, architecture: Architecture, digest wanted: Digest?) async throws {
        guard let json = try? JSONValue(parsing: try await archive.document("manifest.json")),
            let entries = json.array, entries.count <= Self.maximumImages
        else { throw UnsuitableImage("the archive has no manifest.json that lists images") }
        var found: [ArchivedImage] = []
        var told: [String] = []
        for entry in entries {
            guard let file = entry["Config"]?.string,
                let names = entry["Layers"]?.array?.compactMap(\.string), names.count == entry["Layers"]?.array?.count
            else { throw UnsuitableImage("manifest.json lists something that is no image") }
            let (digest, config) = try await Self.config(file, archive)
            let platform = "\(config.platform.os)/\(config.platform.architecture)"
            let tags = entry["RepoTags"]?.array?.compactMap(\.string).prefix(3).joined(separator: " ") ?? ""
            told.append("\(digest) \(platform)\(tags.isEmpty ? "" : " (\(tags))")")
            guard config.platform.os == "linux", config.platform.architecture == architecture.rawValue,
                wanted == nil || wanted == digest, !found.contains(where: { $0.digest == digest })
            else { continue }
            found.append(try Self.image(digest, config, names, archive))
        }
        let list = told.prefix(20).joined(separator: ", ")
        guard let image = found.first else {
            throw UnsuitableImage(
                "there is no image \(wanted.map { "\($0) " } ?? "")for linux/\(architecture); there are: \(list)")
        }
        guard found.count == 1 else {
            throw UnsuitableImage(
                "several images are for linux/\(architecture): name one by its digest; there are: \(list)")
        }
        self = image
    }

    private static func config(
        _ name: String, _ archive: ImageArchive
    ) async throws -> (Digest, ImageConfig) {
        let bytes = try await archive.document(name)
        let digest = Digest.of(bytes)
        // Docker calls the file by its digest.
        let stem = name.hasSuffix(".json") ? name.dropLast(5) : name.split(separator: "/").last ?? ""
        if let named = try? Digest(.sha256, hex: String(stem)), named != digest {
            throw UnsuitableImage("what the archive calls \(named) has other bytes")
        }
        do { return (digest, try ImageConfig(json: try JSONValue(parsing: bytes))) } catch {
            throw UnsuitableImage("\(name): \(error)")
        }
    }

    private static func image(
        _ digest: Digest, _ config: ImageConfig, _ names: [String], _ archive: ImageArchive
    ) throws(UnsuitableImage) -> ArchivedImage {
        guard (1...ImageFinder.maximumLayers).contains(names.count), names.count == config.diffIDs.count else {
            throw UnsuitableImage(
                "the image \(digest) has \(names.count) layers, and its configuration names \(config.diffIDs.count)")
        }
        var layers: [ArchivedLayer] = []
        for (name, diffID) in zip(names, config.diffIDs) {
            guard let file = archive.file(name) else { throw UnsuitableImage("the archive has no layer \(name)") }
            layers.append(ArchivedLayer(file: file, diffID: diffID))
        }
        return ArchivedImage(digest: digest, layers: layers, signable: [])
    }
}
