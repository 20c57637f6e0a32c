import Droplets
import JSON
public import OCI
import Rootfs
import Runtime
import Signatures

/// A document about an image, offered as an artifact that refers to it (OCI image specification, manifest.md, "Guidelines
/// for Artifact Usage"). Derived like the image, never stored.
public struct DerivedReferrer: Hashable, Sendable {
    /// Its descriptor in lists of referrers.
    public let descriptor: Descriptor
    public let manifest: [UInt8]
    /// The artifact's only layer. nil for the rootfs' own SBOM: it is large and the same for all base images of a
    /// version, so it is cached once, or made again.
    public let document: [UInt8]?
    public let documentDigest: Digest

    /// The artifact's config: `{}`.
    public static let emptyConfig = Array("{}".utf8)
    public static let emptyConfigDigest = Digest.of(emptyConfig)

    init(_ type: MediaType, _ document: [UInt8], about image: ComposedImage, _ annotations: ByName<String>) {
        self.init(
            type, digest: Digest.of(document), size: Int64(document.count), document, about: image, annotations)
    }

    init(
        _ type: MediaType, digest: Digest, size: Int64, _ document: [UInt8]? = nil, about image: ComposedImage,
        _ annotations: ByName<String>
    ) {
        let manifest = Manifest(
            mediaType: .ociManifest,
            config: Descriptor(
                mediaType: .ociEmpty, digest: Self.emptyConfigDigest, size: Int64(Self.emptyConfig.count)),
            layers: [Descriptor(mediaType: type, digest: digest, size: size)], annotations: annotations,
            artifactType: type,
            subject: Descriptor(
                mediaType: image.mediaType, digest: image.manifestDigest, size: Int64(image.manifest.count)))
        self.manifest = manifest.json.canonicalBytes
        self.document = document
        documentDigest = digest
        descriptor = Descriptor(
            mediaType: .ociManifest, digest: Digest.of(self.manifest), size: Int64(self.manifest.count),
            annotations: annotations, artifactType: type)
    }

    var digests: [Digest] { [descriptor.digest, documentDigest] }

    /// Its approximate size in memory, in bytes.
    var cost: Int { manifest.count + (document?.count ?? 0) + 1024 }
}

/// The documents that refer to one image. Their bytes never change, since policies may know them by digest: a better
/// form replaces the old one in `listed`, and `all` keeps both.
struct ImageReferrers: Sendable {
    /// Shown in lists.
    let listed: [DerivedReferrer]
    /// Found by digest.
    let all: [DerivedReferrer]

    static let none = ImageReferrers(listed: [], all: [])

    var cost: Int { all.reduce(256) { $0 + $1.cost } }

    /// Makes the documents that refer to an image: a pure function. A base image has the rootfs' SBOM; a droplet's
    /// image has an SBOM of its own and provenance.
    /// - Parameters:
    ///   - sbom: the rootfs' own; nil if its packages are not recorded, which leaves out the image's SBOM too.
    ///   - keys: one signed envelope is made for each. Without any, the unsigned statement is listed.
    /// - Throws: `SignatureError.signing`.
    static func make(
        _ image: ComposedImage, _ origin: ImageOrigin, on rootfs: RootfsVersion, _ sbom: RootfsSBOM.Reference?,
        keys: [SigningKey]
    ) throws(SignatureError) -> ImageReferrers {
        let recipe = origin.recipe
        guard let droplet = origin.droplet else {
            let metadata = annotations(recipe.rootfsCreated)
            let sboms = [sbom].compactMap { $0 }.map {
                DerivedReferrer(.spdx, digest: $0.digest, size: $0.size, about: image, metadata)
            }
            return ImageReferrers(listed: sboms, all: sboms)
        }
        let created = max(recipe.rootfsCreated, droplet.newestEntry)
        var sboms: [DerivedReferrer] = []
        if let sbom {
            let document = ImageSBOM.bytes(of: image, recipe, droplet, on: sbom)
            sboms = [DerivedReferrer(.spdx, document, about: image, annotations(created))]
        }
        let statement = Provenance.statement(for: image, recipe, droplet, on: rootfs)
        let predicate: ByName = ["in-toto.io/predicate-type": Provenance.predicateType]
        let metadata = annotations(created).merging(predicate) { $1 }
        let plain = DerivedReferrer(.inToto, statement, about: image, metadata)
        var signed: [DerivedReferrer] = []
        for key in keys {
            let envelope = try Envelope.bytes(of: statement, type: .inToto, signedBy: key)
            signed.append(DerivedReferrer(.dsse, envelope, about: image, metadata))
        }
        return ImageReferrers(
            listed: sboms + (signed.isEmpty ? [plain] : signed), all: sboms + signed + [plain])
    }

    private static func annotations(_ created: Timestamp) -> ByName<String> {
        ["org.opencontainers.image.created": created.rfc3339]
    }
}
