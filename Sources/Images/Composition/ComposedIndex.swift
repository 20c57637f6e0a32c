import JSON
public import OCI
public import Rootfs

/// The index of a rootfs version that has variants for several architectures, exactly as it is served.
public struct ComposedIndex: Hashable, Sendable {
    public let mediaType: MediaType
    public let bytes: [UInt8]
    public let digest: Digest
}

/// Makes the index of base images, in the order of the architectures: a pure function, pinned by golden digests as the
/// images are.
/// - Parameter images: of one version and family, which has each architecture once.
public func composeIndex(_ images: [(architecture: Architecture, image: ComposedImage)]) -> ComposedIndex {
    // An image with a zstd layer is described in OCI's vocabulary whatever was wanted.
    let isDocker = images.allSatisfy { $0.image.mediaType == .dockerManifest }
    let mediaType: MediaType = isDocker ? .dockerManifestList : .ociIndex
    let order = Architecture.allCases
    let manifests = order.flatMap { architecture in images.filter { $0.architecture == architecture } }.map {
        Descriptor(
            mediaType: $0.image.mediaType, digest: $0.image.manifestDigest, size: Int64($0.image.manifest.count),
            platform: Platform(architecture: $0.architecture.rawValue))
    }
    let bytes = Index(mediaType: mediaType, manifests: manifests).json.canonicalBytes
    return ComposedIndex(mediaType: mediaType, bytes: bytes, digest: Digest.of(bytes))
}
