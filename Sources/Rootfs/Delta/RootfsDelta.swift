package import JSON
public import Layers
import OCI
package import ObjectStore
import Records
public import Runtime

/// A layer that turns one rootfs version into another: `rootfs/<stack>/<version>/delta-from/<from>/<architecture>`. It was
/// applied and compared before it was stored.
public struct RootfsDelta: Hashable, Sendable {
    public let stack: StackName
    public let from: VersionName
    public let to: VersionName
    public let architecture: Architecture
    public let layer: LayerReference
    /// The size of the layer's tar, in bytes.
    public let uncompressedSize: Int64
    /// What a node without any layer of the new version fetches instead: the sum of the version's layers, in bytes.
    public let rootfsSize: Int64
    /// How many names are new or changed.
    public let changed: Int
    /// How many names are gone, without those below a folder that is gone.
    public let gone: Int
    public let times: DeltaTimes
    public let computed: Timestamp
    public let computedBy: String

    /// The layer's size as a part of the new version's layers, in hundredths of a percent, rounded up.
    public var share: Int64 {
        guard rootfsSize > 0 else { return 0 }
        return Int64(exactly: (Double(layer.size) * 10_000 / Double(rootfsSize)).rounded(.up)) ?? .max
    }

    struct Key: Hashable {
        let stack: StackName
        let from: VersionName
        let to: VersionName
        let architecture: Architecture
    }

    /// A folder's name that differs from every architecture's.
    static let folder = "delta-from"

    var key: Key { Key(stack: stack, from: from, to: to, architecture: architecture) }

    var objectKey: ObjectKey {
        get throws(ObjectStoreError) {
            try ObjectKey(
                RootfsVersion.folder(stack, to) + "\(Self.folder)/\(from)/\(architecture.rawValue)")
        }
    }
}

extension RootfsDelta: JSONRecord {
    package static var namesContent: Bool { true }

    package init?(_ json: JSONValue, at key: ObjectKey) {
        let parts = key.text.split(separator: "/")
        guard parts.count == 6, let stack = try? StackName(parts[1]), let from = try? VersionName(parts[4]),
            let to = try? VersionName(parts[2]), let architecture = try? Architecture(parts[5]),
            let changed = json["changed"]?.byteCount, let computed = json["computed"]?.integer,
            let computedBy = json["computedBy"]?.string, let gone = json["gone"]?.byteCount,
            let layer = json["layer"].flatMap(LayerReference.init(json:)),
            let rootfsSize = json["rootfsSize"]?.byteCount,
            let times = json["times"]?.string.flatMap(DeltaTimes.init(rawValue:)),
            let uncompressedSize = json["uncompressedSize"]?.byteCount
        else { return nil }
        self.init(
            stack: stack, from: from, to: to, architecture: architecture, layer: layer,
            uncompressedSize: uncompressedSize, rootfsSize: rootfsSize, changed: Int(changed), gone: Int(gone),
            times: times, computed: Timestamp(seconds: computed), computedBy: computedBy)
    }

    package var json: JSONValue {
        [
            "changed": .integer(Int64(changed)), "computed": .integer(computed.seconds),
            "computedBy": .string(computedBy), "gone": .integer(Int64(gone)), "layer": layer.json,
            "rootfsSize": .integer(rootfsSize), "times": .string(times.rawValue),
            "uncompressedSize": .integer(uncompressedSize),
        ]
    }
}

/// When images on a new version are made from an older version's layers and deltas.
public struct DeltaPolicy: Hashable, Sendable {
    /// The largest sum of an image's deltas, in percent of the size of the new version's layers.
    public let maximumPercent: Int64
    /// The most deltas that an image may have.
    public let maximumLength: Int

    public init(maximumPercent: Int64, maximumLength: Int) {
        self.maximumPercent = maximumPercent
        self.maximumLength = maximumLength
    }

    func allows(_ deltas: [LayerReference], instead layers: [LayerReference]) -> Bool {
        let size = Double(deltas.totalSize)
        let whole = Double(layers.totalSize)
        return deltas.count <= maximumLength && size * 100 <= whole * Double(maximumPercent)
    }
}

/// The layers that images on a rootfs version are made of, chosen once and never changed:
/// `rootfs/<stack>/<version>/form/<architecture>`.
package struct LayerPlan: Hashable, Sendable {
    /// The lowest layers, bottom up.
    package let rootfs: [LayerReference]
    /// The layers on top of the droplet's, bottom up.
    package let delta: [LayerReference]

    /// A folder's name that differs from every architecture's.
    static let folder = "form"

    static func key(_ version: RootfsVersion) throws(ObjectStoreError) -> ObjectKey {
        try ObjectKey(
            RootfsVersion.folder(version.stack, version.version) + "\(folder)/\(version.architecture.rawValue)")
    }

    package init(rootfs: [LayerReference], delta: [LayerReference] = []) {
        self.rootfs = rootfs
        self.delta = delta
    }
}

extension LayerPlan: JSONRecord {
    package static var namesContent: Bool { true }

    package init?(_ json: JSONValue, at key: ObjectKey) {
        guard let rootfs = json["rootfs"]?.elements(LayerReference.init(json:)),
            let delta = json["delta"]?.elements(LayerReference.init(json:))
        else { return nil }
        self.init(rootfs: rootfs, delta: delta)
    }

    package var json: JSONValue { ["delta": .array(delta.map(\.json)), "rootfs": .array(rootfs.map(\.json))] }
}
