public import Archive
import JSON
public import Layers
import OCI
import ObjectStore
import Records
import Rootfs
import Runtime

/// How this server lays droplets out in layers: a setting of the operator.
public struct DropletLayout: Hashable, Sendable {
    public let mode: LayerMode
    public let compression: CompressionFormat

    public init(mode: LayerMode = .single, compression: CompressionFormat = .gzip) {
        self.mode = mode
        self.compression = compression
    }
}

/// The result of converting a droplet in one layout: `bits/droplets/conversions/<sha256>/<mode>-<compression>`. The
/// same droplet uploaded again, for any app, reuses it.
struct DropletConversion: Hashable, Sendable {
    let content: DropletContent
    let sha1: String
    /// The size of the droplet as uploaded, in bytes.
    let size: Int64
    /// The mode of the layers: `single` for a droplet that could not be split.
    let mode: LayerMode

    /// What the quotas count for it in an app's repository: the uploaded bytes and the layers, in bytes.
    var logicalBytes: Int64 { size.clampedAdding(content.layers.totalSize) }

    static let folder = "bits/droplets/conversions/"

    static func key(_ digest: Digest, _ settings: DropletLayout) throws(ImageError) -> ObjectKey {
        try ImageError.key(folder + "\(digest.hex)/\(settings.mode.rawValue)-\(settings.compression.name)")
    }

    init(content: DropletContent, sha1: String, size: Int64, mode: LayerMode) {
        self.content = content
        self.sha1 = sha1
        self.size = size
        self.mode = mode
    }
}

extension DropletConversion: JSONRecord {
    init?(_ json: JSONValue, at key: ObjectKey) {
        guard let content = DropletContent(json: json), let sha1 = json["sha1"]?.string,
            let size = json["size"]?.byteCount,
            let mode = json["mode"]?.string.flatMap(LayerMode.init(rawValue:))
        else { return nil }
        self.init(content: content, sha1: sha1, size: size, mode: mode)
    }

    var json: JSONValue {
        var json: [String: JSONValue] = [
            "digest": .string(content.digest.description), "layers": .array(content.layers.map(\.json)),
            "mode": .string(mode.rawValue), "newestEntry": .integer(content.newestEntry.seconds),
            "sha1": .string(sha1), "size": .integer(size),
        ]
        if !content.buildpacks.isEmpty { json["buildpacks"] = .array(content.buildpacks.map(\.json)) }
        return .object(json)
    }
}
