public import Layers
public import Rootfs

/// What a node needs before images on a rootfs version are rolled out to it.
public struct PrepullPlan: Sendable {
    /// An image whose pull brings a node the layers at the bottom of every image on the version.
    public struct Base: Sendable {
        public let version: VersionName
        public let image: ComposedImage
    }

    public let version: VersionName
    public let architecture: Architecture
    /// The version that nodes run now: the current one, or if that is `version`, the one before it; nil if there is
    /// none.
    public let previous: VersionName?
    /// The layers at the bottom of each image, bottom up.
    public let rootfs: [LayerReference]
    public let lifecycle: LayerReference
    /// The layers on top of each droplet's, bottom up. Only a pull of the app's own image fetches them.
    public let delta: [LayerReference]
    /// The image whose layers are `rootfs`; nil if the version that had these layers is gone.
    public let base: Base?
    /// The layers that a node with images on `previous` has already.
    let known: Set<LayerReference>?

    private var all: [LayerReference] { rootfs + [lifecycle] + delta }

    /// The bytes that a node without any layers fetches, besides each app's droplet.
    public var emptyBytes: Int64 { all.totalSize }

    /// The bytes that a node fetches if it runs images on the previous version; nil if there is no previous version.
    public var previousBytes: Int64? {
        known.map { known in all.filter { !known.contains($0) }.totalSize }
    }

    /// The bytes that a node still fetches after it has pulled the base.
    public var pulledBytes: Int64 { ([lifecycle] + delta).totalSize }

    /// Whether pulling the base helps nodes that run images on the previous version.
    public var helpsPrevious: Bool { known.map { known in rootfs.contains { !known.contains($0) } } ?? false }
}

extension DerivedImages {
    /// What nodes need for images on a version. This freezes the form of these images, as the first of them would, so
    /// that the answer remains true.
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

    /// The last promoted version other than this one that still has a variant for the architecture.
    private func previous(
        _ stack: StackName, _ version: VersionName, _ architecture: Architecture
    ) -> VersionName? {
        (rootfs.history(stack)?.promotions ?? []).map(\.version).first { promoted in
            promoted != version && (try? rootfs.version(stack, promoted, architecture)) != nil
        }
    }
}
