public import Layers
public import Rootfs

/// What a node needs to have before images on a rootfs version are rolled out to it.
public struct PrepullPlan: Sendable {
    /// An image whose pull brings a node the layers at the bottom of every image on the version.
    public struct Base: Sendable {
        public let version: VersionName
        public let image: ComposedImage
    }

    public let version: VersionName
    public let architecture: Architecture
    /// What nodes run now: the current version, or for that one what was current before; nil if there is none.
    public let previous: VersionName?
    /// At the bottom of each image, bottom up.
    public let rootfs: [LayerReference]
    public let lifecycle: LayerReference
    /// On top of each droplet, bottom up. No pull but that of the app's own image brings them.
    public let delta: [LayerReference]
    /// Has `rootfs` as its layers; nil if the version that they came with is gone.
    public let base: Base?
    /// What a node with images on `previous` has of all that.
    let known: Set<LayerReference>?

    private var all: [LayerReference] { rootfs + [lifecycle] + delta }

    /// What a node fetches that has nothing, in bytes; each app's droplet comes on top.
    public var emptyBytes: Int64 { all.totalSize }

    /// What a node fetches that runs images on the previous version; nil if there is none.
    public var previousBytes: Int64? {
        known.map { known in all.filter { !known.contains($0) }.totalSize }
    }

    /// What a node still fetches after it pulled the base.
    public var pulledBytes: Int64 { ([lifecycle] + delta).totalSize }

    /// Whether nodes that run images on the previous version gain anything by pulling the base.
    public var helpsPrevious: Bool { known.map { known in rootfs.contains { !known.contains($0) } } ?? true }
}

extension DerivedImages {
    /// What nodes need for images on a version. The form of these is decided with it, as with the first of them, so that
    /// the answer stays true.
    /// - Throws: `.unknownStack`, `.unknownVersion`, `.noVariant`, `.noLifecycle`.
    public func prepull(
        _ stack: StackName, _ version: VersionName, _ architecture: Architecture
    ) async throws(ImageError) -> PrepullPlan {
        let wanted = try await recipe(stack, version, architecture, .oci)
        let previous = previous(stack, version, architecture)
        var known: Set<LayerReference>?
        if let previous {
            let recipe = try await recipe(stack, previous, architecture, .oci)
            known = Set(recipe.rootfs + [recipe.lifecycle] + recipe.delta)
        }
        let origin = try rootfs.versions(stack).first {
            $0.architecture == architecture && $0.layers == wanted.rootfs
        }
        var base: PrepullPlan.Base?
        if let origin {
            let recipe = try await recipe(stack, origin.version, architecture, .oci)
            base = PrepullPlan.Base(version: origin.version, image: composeBase(recipe))
        }
        return PrepullPlan(
            version: version, architecture: architecture, previous: previous, rootfs: wanted.rootfs,
            lifecycle: wanted.lifecycle, delta: wanted.delta, base: base, known: known)
    }

    /// What nodes had last that is not this version.
    private func previous(
        _ stack: StackName, _ version: VersionName, _ architecture: Architecture
    ) -> VersionName? {
        (rootfs.history(stack)?.promotions ?? []).map(\.version).first { promoted in
            promoted != version && (try? rootfs.version(stack, promoted, architecture)) != nil
        }
    }
}
