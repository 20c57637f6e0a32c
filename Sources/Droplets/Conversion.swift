import Archive
import JSON
import Layers
import OCI
import ObjectStore
import Records
import Rootfs
import Runtime

/// What became of a droplet's bytes in one layer mode: `bits/droplets/conversions/<sha256>/<mode>-<compression>`.
/// The same droplet uploaded again, for whichever app, reuses it.
struct Conversion: Hashable, Sendable {
    let content: DropletContent
    let sha1: String
    /// Of the droplet's bytes as they were uploaded.
    let size: Int64
    /// The mode that the layers really are in: `split` falls back to `single`.
    let mode: LayerMode

    static let folder = "bits/droplets/conversions/"

    static func key(_ digest: Digest, _ settings: DropletLayout) throws(ObjectStoreError) -> ObjectKey {
        try ObjectKey(folder + "\(digest.hex)/\(settings.mode.rawValue)-\(settings.compression.name)")
    }

    init(content: DropletContent, sha1: String, size: Int64, mode: LayerMode) {
        self.content = content
        self.sha1 = sha1
        self.size = size
        self.mode = mode
    }
}

extension Conversion: JSONRecord {
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
