public import Archive
import Layers
public import OCI

/// In which vocabulary an image is described: OCI's, or Docker's for clients that do not accept OCI's.
public enum MediaTypeFamily: String, Hashable, Sendable, CaseIterable {
    case oci, docker

    public var manifest: MediaType { self == .oci ? .ociManifest : .dockerManifest }
    public var config: MediaType { self == .oci ? .ociConfig : .dockerConfig }

    /// Docker has no word for zstd: such layers keep OCI's.
    public func layer(_ compression: CompressionFormat) -> MediaType {
        switch (self, compression) {
        case (.oci, .none): .ociLayer
        case (.oci, .gzip): .ociLayerGzip
        case (.docker, .none): .dockerLayer
        case (.docker, .gzip): .dockerLayerGzip
        case (_, .zstd): .ociLayerZstd
        }
    }
}

extension LayerReference {
    func descriptor(_ family: MediaTypeFamily) -> Descriptor {
        Descriptor(mediaType: family.layer(compression), digest: digest, size: size)
    }
}

/// In which vocabularies a client wants what it asks for.
public struct AcceptedFamilies: Hashable, Sendable {
    public let image: MediaTypeFamily
    /// nil: the client names no index that it accepts, and gets an image.
    public let index: MediaTypeFamily?

    public init(image: MediaTypeFamily, index: MediaTypeFamily?) {
        self.image = image
        self.index = index
    }
}
