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
    /// What gzip is made for.
    public let level: CompressionLevel

    public init(
        mode: LayerMode = .single, compression: CompressionFormat = .gzip, level: CompressionLevel = .fast
    ) {
        self.mode = mode
        self.compression = compression
        self.level = level
    }
}

/// The result of converting a droplet in one layout: `bits/droplets/conversions/<sha256>/<mode>-<compression>`, with
/// `-small` behind it for that level. The same droplet uploaded again in this layout, for any app, reuses it.
struct DropletConversion: Hashable, Sendable {
    let content: DropletContent
    let sha1: String
    /// The size of the droplet as uploaded, in bytes.
    let size: Int64
    /// The mode of the layers: `single` for a droplet that could not be split.
    let mode: LayerMode
    /// The level of the layers. Records without it are of the time when there was only `fast`.
    let level: CompressionLevel

    /// What the quotas count for it in an app's repository: the uploaded bytes and the layers, in bytes.
    var logicalBytes: Int64 { size.clampedAdding(content.layers.totalSize) }

    static let folder = "bits/droplets/conversions/"

    static func key(_ digest: Digest, _ settings: DropletLayout) throws(ImageError) -> ObjectKey {
        let level = settings.level == .fast ? "" : "-\(settings.level.rawValue)"
        return try ImageError.key(
            folder + "\(digest.hex)/\(settings.mode.rawValue)-\(settings.compression.name)\(level)")
    }

    init(content: DropletContent, sha1: String, size: Int64, mode: LayerMode, level: CompressionLevel) {
        self.level = level
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
            let mode = json["mode"]?.string.flatMap(LayerMode.init(rawValue:)),
            let level = CompressionLevel(record: json)
        else { return nil }
        self.init(content: content, sha1: sha1, size: size, mode: mode, level: level)
    }

    var json: JSONValue {
        var json: JSONObject = [
            "digest": .string(content.digest.description), "layers": .array(content.layers.map(\.json)),
            "mode": .string(mode.rawValue), "newestEntry": .integer(content.newestEntry.seconds),
            "sha1": .string(sha1), "size": .integer(size),
        ]
        if !content.buildpacks.isEmpty { json["buildpacks"] = .array(content.buildpacks.map(\.json)) }
        if level != .fast { json["level"] = .string(level.rawValue) }
        return .object(json)
    }
}

extension CompressionLevel {
    /// The level that a record states: `fast` if it has none; nil if it has one that this version does not know.
    init?(record json: JSONValue) {
        guard let level = json["level"] else {
            self = .fast
            return
        }
        guard let known = level.string.flatMap(CompressionLevel.init(rawValue:)) else { return nil }
        self = known
    }
}
