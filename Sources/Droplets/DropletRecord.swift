public import Archive
import Blobs
package import JSON
public import Layers
public import OCI
package import ObjectStore
import Records
public import Rootfs
public import Runtime

/// The part of a droplet that goes into an image: it depends on the droplet's bytes and the layout only.
public struct DropletContent: Hashable, Sendable {
    /// SHA-256 of the bytes that were uploaded.
    public let digest: Digest
    /// From the bottom layer to the top one.
    public let layers: [LayerReference]
    /// The latest modification time among the droplet's entries.
    public let newestEntry: Timestamp
    /// The buildpacks that the droplet says it was staged with; empty for droplets that earlier versions converted.
    public let buildpacks: [StatedBuildpack]
    /// The buildpacks that made it, as its first upload said; empty if it said nothing. An image's documents name them,
    /// so they are fixed with the record.
    public let staged: [StagedBuildpack]

    public init(
        digest: Digest, layers: [LayerReference], newestEntry: Timestamp, buildpacks: [StatedBuildpack] = [],
        staged: [StagedBuildpack] = []
    ) {
        self.staged = staged
        self.buildpacks = buildpacks
        self.digest = digest
        self.layers = layers
        self.newestEntry = newestEntry
    }

    /// The same content with what an upload said of its buildpacks.
    func made(by staged: [StagedBuildpack]) -> DropletContent {
        DropletContent(
            digest: digest, layers: layers, newestEntry: newestEntry, buildpacks: buildpacks, staged: staged)
    }
}

/// A droplet of an app: `bits/droplets/records/<guid>/<sha256>`. Its layers are fixed here once, so that its images
/// never change, whatever layout later uploads use.
public struct DropletRecord: Hashable, Sendable {
    public let guid: DropletGUID
    public let content: DropletContent
    /// 40 hexadecimal digits: the name that older controllers use.
    public let sha1: String
    /// The size of the droplet as uploaded, in bytes.
    public let size: Int64
    public let stack: StackName
    public let architecture: Architecture
    public let mode: LayerMode
    /// The level of the layers. Records without it are of the time when there was only `fast`.
    public let level: CompressionLevel
    public let uploaded: Timestamp
    public let uploadedBy: String
    public let owner: DropletOwner

    /// The hash that names it in URLs and tags.
    public var hash: String { content.digest.hex }

    /// What the quotas count for it in its repository: the uploaded bytes and the layers, in bytes.
    var logicalBytes: Int64 { size.clampedAdding(content.layers.totalSize) }

    func matches(_ checksum: Checksum) -> Bool {
        switch checksum {
        case .digest(let digest): content.digest == digest
        case .sha1(let hex): sha1 == hex
        }
    }

    static let folder = "bits/droplets/records/"

    static func folder(_ guid: DropletGUID) -> String { folder + guid.text + "/" }

    /// `<guid>/<sha256>`, from a record's key.
    package static func name(in key: ObjectKey) -> Substring { Substring(key.text.utf8.dropFirst(folder.utf8.count)) }

    static func key(_ guid: DropletGUID, _ sha256: String) throws(ImageError) -> ObjectKey {
        try ImageError.key(folder(guid) + sha256)
    }
}

extension DropletRecord: JSONRecord {
    package static var namesContent: Bool { true }

    package init?(_ json: JSONValue, at key: ObjectKey) {
        let parts = key.text.dropFirst(Self.folder.count).split(separator: "/")
        guard parts.count == 2, let guid = try? DropletGUID(parts[0]), let content = DropletContent(json: json),
            content.digest.hex == parts[1], let sha1 = json["sha1"]?.string, let size = json["size"]?.byteCount,
            let stack = json["stack"]?.string.flatMap({ try? StackName($0) }),
            let architecture = json["architecture"]?.string.flatMap({ try? Architecture($0) }),
            let mode = json["mode"]?.string.flatMap(LayerMode.init(rawValue:)),
            let level = CompressionLevel(record: json), let uploaded = json["uploaded"]?.integer,
            let uploadedBy = json["uploadedBy"]?.string,
            let owner = try? DropletOwner(org: json["org"]?.string, space: json["space"]?.string)
        else { return nil }
        self.init(
            guid: guid, content: content, sha1: sha1, size: size, stack: stack, architecture: architecture, mode: mode,
            level: level, uploaded: Timestamp(seconds: uploaded), uploadedBy: uploadedBy, owner: owner)
    }

    package var json: JSONValue {
        var json: JSONObject = [
            "architecture": .string(architecture.rawValue), "digest": .string(content.digest.description),
            "layers": .array(content.layers.map(\.json)), "mode": .string(mode.rawValue),
            "newestEntry": .integer(content.newestEntry.seconds), "sha1": .string(sha1), "size": .integer(size),
            "stack": .string(stack.text), "uploaded": .integer(uploaded.seconds), "uploadedBy": .string(uploadedBy),
        ]
        if !content.buildpacks.isEmpty { json["buildpacks"] = .array(content.buildpacks.map(\.json)) }
        if !content.staged.isEmpty { json["staged"] = .array(content.staged.map(\.json)) }
        if level != .fast { json["level"] = .string(level.rawValue) }
        json["org"] = owner.org.map { .string($0) }
        json["space"] = owner.space.map { .string($0) }
        return .object(json)
    }
}

extension DropletContent {
    init?(json: JSONValue) {
        guard let digest = json["digest"]?.string.flatMap({ try? Digest(parsing: $0) }),
            let layers = json["layers"]?.elements(LayerReference.init(json:)),
            let newestEntry = json["newestEntry"]?.integer
        else { return nil }
        let buildpacks = json["buildpacks"]?.elements(StatedBuildpack.init(json:)) ?? []
        // Images depend on these: without what can't be read of them they would be others.
        guard let staged = (json["staged"] ?? []).elements(StagedBuildpack.init(json:)) else { return nil }
        self.init(
            digest: digest, layers: layers, newestEntry: Timestamp(seconds: newestEntry), buildpacks: buildpacks,
            staged: staged)
    }
}
