public import OCI

/// An image's two documents, exactly as they are served.
public struct ComposedImage: Hashable, Sendable {
    public let mediaType: MediaType
    public let manifest: [UInt8]
    public let manifestDigest: Digest
    public let config: [UInt8]
    public let configDigest: Digest

    init(mediaType: MediaType, manifest: [UInt8], config: [UInt8], configDigest: Digest) {
        self.mediaType = mediaType
        self.manifest = manifest
        self.manifestDigest = Digest.of(manifest)
        self.config = config
        self.configDigest = configDigest
    }

    /// Roughly the bytes it takes in memory.
    var cost: Int { manifest.count + config.count + 512 }
}
