import JSON
public import Layers
import OCI
import ObjectStore
public import Rootfs
public import Runtime

/// A droplet of an app: `bits/droplets/records/<guid>/<sha256>`. Its layers are written down once, so an image never
/// changes under anybody, whatever mode later uploads use.
public struct DropletRecord: Hashable, Sendable {
    public let guid: DropletGUID
    public let content: DropletContent
    /// 40 hexadecimal digits: the name older controllers know it by.
    public let sha1: String
    /// Of the uploaded bytes.
    public let size: Int64
    public let stack: StackName
    public let architecture: Architecture
    public let mode: LayerMode
    public let uploaded: Timestamp
    public let uploadedBy: String

    /// The hash that names it in URLs and tags.
    public var hash: String { content.digest.hex }

    static let folder = "bits/droplets/records/"

    static func folder(_ guid: DropletGUID) -> String { folder + guid.text + "/" }

    static func key(_ guid: DropletGUID, _ sha256: String) throws(ObjectStoreError) -> ObjectKey {
        try ObjectKey(folder(guid) + sha256)
    }

    var bytes: [UInt8] {
        var json: [String: JSONValue] = [
            "architecture": .string(architecture.rawValue), "digest": .string(content.digest.description),
            "layers": .array(content.layers.map(\.json)), "mode": .string(mode.rawValue),
            "newestEntry": .integer(content.newestEntry.seconds), "sha1": .string(sha1), "size": .integer(size),
            "stack": .string(stack.text), "uploaded": .integer(uploaded.seconds), "uploadedBy": .string(uploadedBy),
        ]
        if !content.buildpacks.isEmpty { json["buildpacks"] = .array(content.buildpacks.map(\.json)) }
        return JSONValue.object(json).canonicalBytes
    }
}

extension DropletRecord {
    init(parsing bytes: [UInt8], guid: DropletGUID, at key: ObjectKey) throws(ImageError) {
        guard let json = try? JSONValue(parsing: bytes),
            let content = DropletContent(json: json), let sha1 = json["sha1"]?.string,
            let size = json["size"]?.integer,
            let stack = json["stack"]?.string.flatMap({ try? StackName($0) }),
            let architecture = json["architecture"]?.string.flatMap({ try? Architecture($0) }),
            let mode = json["mode"]?.string.flatMap(LayerMode.init(rawValue:)),
            let uploaded = json["uploaded"]?.integer, let uploadedBy = json["uploadedBy"]?.string
        else { throw .damaged(key) }
        self.init(
            guid: guid, content: content, sha1: sha1, size: size, stack: stack, architecture: architecture, mode: mode,
            uploaded: Timestamp(seconds: uploaded), uploadedBy: uploadedBy)
    }
}

extension DropletContent {
    init?(json: JSONValue) {
        guard let digest = json["digest"]?.string.flatMap({ try? Digest(parsing: $0) }),
            let layers = json["layers"]?.elements(LayerReference.init(json:)),
            let newestEntry = json["newestEntry"]?.integer
        else { return nil }
        let buildpacks = json["buildpacks"]?.elements(StatedBuildpack.init(json:)) ?? []
        self.init(
            digest: digest, layers: layers, newestEntry: Timestamp(seconds: newestEntry), buildpacks: buildpacks)
    }
}
