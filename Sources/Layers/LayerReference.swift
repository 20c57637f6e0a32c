public import Archive
package import JSON
public import OCI

/// A stored layer as recipes and droplet records name it: independent of media-type families.
public struct LayerReference: Hashable, Sendable {
    public let compression: CompressionFormat
    /// The digest of the stored bytes.
    public let digest: Digest
    /// The number of stored bytes.
    public let size: Int64
    /// The digest of the layer's tar.
    public let diffID: Digest

    public init(compression: CompressionFormat, digest: Digest, size: Int64, diffID: Digest) {
        self.compression = compression
        self.digest = digest
        self.size = size
        self.diffID = diffID
    }

    package init(_ layer: ConvertedLayer<some Sendable>) {
        self.init(compression: layer.compression, digest: layer.digest, size: layer.size, diffID: layer.diffID)
    }

    package init?(json: JSONValue) {
        guard let compression = json["compression"]?.string.flatMap(CompressionFormat.init(name:)),
            let digest = json["digest"]?.string.flatMap({ try? Digest(parsing: $0) }),
            let size = json["size"]?.byteCount,
            let diffID = json["diffID"]?.string.flatMap({ try? Digest(parsing: $0) })
        else { return nil }
        self.init(compression: compression, digest: digest, size: size, diffID: diffID)
    }

    package var json: JSONValue {
        [
            "compression": .string(compression.name), "digest": .string(digest.description),
            "size": .integer(size), "diffID": .string(diffID.description),
        ]
    }
}

extension Sequence<LayerReference> {
    /// The sizes of all layers' stored bytes added up, clamped to the largest number.
    package var totalSize: Int64 { map(\.size).clampedSum }
}
