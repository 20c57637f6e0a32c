public import Archive
public import Droplets
import JSON
import Layers
public import OCI
import Rootfs
import Runtime

/// The media types that describe an image: OCI's, or Docker's for clients that do not accept OCI's.
public enum MediaTypeFamily: String, Hashable, Sendable, CaseIterable {
    case oci, docker

    public var manifest: MediaType { self == .oci ? .ociManifest : .dockerManifest }
    public var config: MediaType { self == .oci ? .ociConfig : .dockerConfig }

    /// The media type of a layer. Docker has none for zstd, so such layers keep OCI's.
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

/// The families of media types in which a client accepts a document.
public struct AcceptedFamilies: Hashable, Sendable {
    public let image: MediaTypeFamily
    /// nil if the client accepts no index, so that it gets an image.
    public let index: MediaTypeFamily?

    public init(image: MediaTypeFamily, index: MediaTypeFamily?) {
        self.image = image
        self.index = index
    }
}

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

    /// Its approximate size in memory, in bytes.
    var cost: Int { manifest.count + config.count + 512 }

    /// The manifest, as it is served.
    public var served: DerivedManifest {
        DerivedManifest(mediaType: mediaType, bytes: manifest, digest: manifestDigest)
    }

    var digests: [Digest] { [manifestDigest, configDigest] }
}

/// The recipe and droplet that an image is composed of.
struct ImageOrigin: Sendable {
    let recipe: Recipe
    /// nil for the base image of a rootfs version.
    let droplet: DropletContent?

    func compose() -> ComposedImage { droplet.map { Images.compose(recipe, $0) } ?? composeBase(recipe) }
}

/// The composer's format numbers. The bytes that a released format makes never change, since running images are known
/// by their digests; `CompositionTests` pins them.
public enum ComposerFormat: Int, Hashable, Sendable {
    case v1 = 1
    /// Like format 1, with the label `org.cloudfoundry.buildpacks`.
    case v2 = 2
    /// Like format 1, with the label where the droplet's upload said what buildpacks made it; the base's name is that of
    /// the registry as well, or left out where nobody has said how the registry is called.
    case v3 = 3

    /// Whether images of a droplet may be of it.
    /// - Parameter namesBuildpacks: whether the droplet's upload said what buildpacks made it.
    func isFor(namesBuildpacks: Bool) -> Bool {
        switch self {
        case .v1: !namesBuildpacks
        case .v2: namesBuildpacks
        case .v3: true
        }
    }

    /// The format of images of new versions.
    public static let newest = v3
}

/// Makes an image's documents from a recipe and a droplet: a pure function.
///
/// Nothing in them comes from a clock, a guid or an upload, but for the buildpacks that the droplet's record has of its
/// first upload; the registry's name is the recipe's.
public func compose(_ recipe: Recipe, _ droplet: DropletContent) -> ComposedImage {
    let formats = Formats1To3(recipe: recipe)
    let base = "cistern/\(recipe.stack):\(recipe.version)"
    let buildpacks: ByName = [
        "org.cloudfoundry.buildpacks": JSONValue.array(droplet.staged.map(\.json)).canonicalText
    ]
    return switch recipe.format {
    case .v1: formats.image(of: droplet, base: base)
    // Also an empty list, so that no image is of both formats.
    case .v2: formats.image(of: droplet, base: base, adding: buildpacks)
    case .v3:
        formats.image(
            of: droplet, base: recipe.registry.map { "\($0)/\(base)" },
            adding: droplet.staged.isEmpty ? [:] : buildpacks)
    }
}

/// Makes the documents of a recipe's rootfs alone: the base image of all images of that recipe.
public func composeBase(_ recipe: Recipe) -> ComposedImage { composeBase(recipe, recipe.family) }

/// The same, in the given family of media types.
func composeBase(_ recipe: Recipe, _ family: MediaTypeFamily) -> ComposedImage {
    switch recipe.format {
    case .v1, .v2, .v3: Formats1To3(recipe: recipe).base(family)
    }
}

/// Formats 1 to 3. Released: their bytes stay.
private struct Formats1To3 {
    let recipe: Recipe

    private static let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    private struct Piece {
        let layer: LayerReference
        let origin: String
    }

    private func pieces(_ rootfs: [LayerReference]) -> [Piece] {
        rootfs.map { Piece(layer: $0, origin: "rootfs \(recipe.stack) \(recipe.version)") }
    }

    func base(_ family: MediaTypeFamily) -> ComposedImage {
        let created = recipe.rootfsCreated.rfc3339
        let metadata: ByName = [
            "org.opencontainers.image.created": created,
            "org.opencontainers.image.version": recipe.version.text,
            "org.opencontainers.image.title": recipe.stack.text,
        ]
        let execution = ImageConfig.Execution(environment: [Self.path], command: [recipe.shell], labels: metadata)
        return document(pieces(recipe.base), family, created: created, execution: execution, metadata: metadata)
    }

    /// - Parameter base: the base image's reference; nil: the image does not name it.
    func image(of droplet: DropletContent, base name: String?, adding labels: ByName<String> = [:]) -> ComposedImage {
        let created = max(recipe.rootfsCreated, droplet.newestEntry).rfc3339
        var metadata: ByName = [
            "org.opencontainers.image.created": created,
            "org.opencontainers.image.version": droplet.digest.hex,
            // Always the OCI manifest's digest, so that both families share one config.
            "org.opencontainers.image.base.digest": base(.oci).manifestDigest.description,
            "org.cloudfoundry.stack": recipe.stack.text,
            "org.cloudfoundry.rootfs-version": recipe.version.text,
        ]
        metadata.merge(labels) { $1 }
        metadata["org.opencontainers.image.base.name"] = name
        let execution = ImageConfig.Execution(
            user: "2000:2000",
            environment: [
                "HOME=/home/vcap/app", "USER=vcap", Self.path, "LANG=en_US.UTF-8", "TMPDIR=/home/vcap/tmp",
                "DEPS_DIR=/home/vcap/deps",
            ],
            entrypoint: ["/lifecycle/launch"], workingDirectory: "/home/vcap/app", labels: metadata,
            stopSignal: "SIGTERM", exposedPorts: ["8080/tcp"])
        let pieces =
            pieces(recipe.rootfs) + [Piece(layer: recipe.lifecycle, origin: "lifecycle")]
            + droplet.layers.map { Piece(layer: $0, origin: "droplet") }
            + recipe.delta.map { Piece(layer: $0, origin: "rootfs delta") }
        return document(pieces, recipe.family, created: created, execution: execution, metadata: metadata)
    }

    private func document(
        _ pieces: [Piece], _ wanted: MediaTypeFamily, created: String, execution: ImageConfig.Execution,
        metadata: ByName<String>
    ) -> ComposedImage {
        // Docker's media types have none for zstd, so an image with such a layer is described in OCI's.
        let family = pieces.contains { $0.layer.compression == .zstd } ? .oci : wanted
        let config = ImageConfig(
            created: created, platform: Platform(architecture: recipe.architecture.rawValue), execution: execution,
            diffIDs: pieces.map(\.layer.diffID),
            history: pieces.map { ImageConfig.History(created: created, createdBy: "cistern", comment: $0.origin) }
        ).json.canonicalBytes
        let configDigest = Digest.of(config)
        let manifest = Manifest(
            mediaType: family.manifest,
            config: Descriptor(mediaType: family.config, digest: configDigest, size: Int64(config.count)),
            layers: pieces.map { $0.layer.descriptor(family) },
            // Docker's manifests have no annotations. Its clients would probably ignore them, but that is not worth the
            // risk.
            annotations: family == .oci ? metadata : [:])
        return ComposedImage(
            mediaType: family.manifest, manifest: manifest.json.canonicalBytes, config: config,
            configDigest: configDigest)
    }
}
