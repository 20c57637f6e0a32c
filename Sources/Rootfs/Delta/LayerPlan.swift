package import JSON
package import Layers
package import ObjectStore
import Records

/// When images on a new version are made of an older one's layers and a delta.
public struct DeltaPolicy: Hashable, Sendable {
    /// How large all deltas of an image may be together, in percent of the new version's layers.
    public let maximumPercent: Int64
    /// How many there may be.
    public let maximumLength: Int

    public init(maximumPercent: Int64, maximumLength: Int) {
        self.maximumPercent = maximumPercent
        self.maximumLength = maximumLength
    }

    func allows(_ deltas: [LayerReference], instead layers: [LayerReference]) -> Bool {
        let size = Double(deltas.reduce(0) { $0 + $1.size })
        let whole = Double(layers.reduce(0) { $0 + $1.size })
        return deltas.count <= maximumLength && size * 100 <= whole * Double(maximumPercent)
    }
}

/// What images on a rootfs version are made of, once chosen for ever: `rootfs/<stack>/<version>/form/<architecture>`.
package struct LayerPlan: Hashable, Sendable {
    /// Below everything, bottom up.
    package let rootfs: [LayerReference]
    /// On top of everything, bottom up.
    package let delta: [LayerReference]

    /// What no architecture is called.
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
