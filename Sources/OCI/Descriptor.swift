public import JSON

/// A reference to content: media type, digest and size (OCI image specification, descriptor.md).
public struct Descriptor: Hashable, Sendable {
    public var mediaType: MediaType
    public var digest: Digest
    /// The content's size in bytes; never negative.
    public var size: Int64
    public var annotations: ByName<String>
    public var artifactType: MediaType?
    public var platform: Platform?
    /// Members that Cistern does not know; they are written back unchanged.
    public var other: JSONObject

    public init(
        mediaType: MediaType, digest: Digest, size: Int64, annotations: ByName<String> = [:],
        artifactType: MediaType? = nil, platform: Platform? = nil
    ) {
        self.mediaType = mediaType
        self.digest = digest
        self.size = size
        self.annotations = annotations
        self.artifactType = artifactType
        self.platform = platform
        self.other = [:]
    }

    /// - Throws: `OCIError` if a required member is missing or any known one is not of its type.
    public init(json: JSONValue) throws(OCIError) { try self.init(json: json, of: "the descriptor") }

    /// - Parameter what: which descriptor it is, for errors.
    init(json: JSONValue, of what: String) throws(OCIError) {
        var members = try Members(json, of: what)
        let type = try members.requiredString("mediaType")
        mediaType = try members.reading("mediaType") { () throws(OCIError) in try MediaType(parsing: type) }
        let digest = try members.requiredString("digest")
        self.digest = try members.reading("digest") { () throws(OCIError) in try Digest(parsing: digest) }
        size = try members.requiredSize("size")
        annotations = try members.strings("annotations")
        artifactType = try members.mediaType("artifactType")
        platform = try members.value("platform").map { (json) throws(OCIError) in
            try Platform(json: json, of: members.path("platform"))
        }
        other = members.rest
    }

    public var json: JSONValue {
        var members = other
        members["mediaType"] = .string(mediaType.text)
        members["digest"] = .string(digest.description)
        members["size"] = .integer(size)
        members.set("annotations", annotations)
        members.set("artifactType", artifactType)
        if let platform { members["platform"] = platform.json }
        return .object(members)
    }
}

/// The platform that an image runs on (OCI image specification, image-index.md, `platform`).
public struct Platform: Hashable, Sendable {
    public var architecture: String
    public var os: String
    public var variant: String?
    public var other: JSONObject

    public init(architecture: String, os: String = "linux", variant: String? = nil) {
        self.architecture = architecture
        self.os = os
        self.variant = variant
        self.other = [:]
    }

    /// - Parameter what: whose platform it is, for errors.
    init(json: JSONValue, of what: String) throws(OCIError) {
        var members = try Members(json, of: what)
        architecture = try members.requiredString("architecture")
        os = try members.requiredString("os")
        variant = try members.string("variant")
        other = members.rest
    }

    public var json: JSONValue {
        var members = other
        members["architecture"] = .string(architecture)
        members["os"] = .string(os)
        if let variant { members["variant"] = .string(variant) }
        return .object(members)
    }
}

/// A media type (RFC 6838), without parameters.
public struct MediaType: Hashable, Sendable, CustomStringConvertible {
    /// `type/subtype` in the writer's own case.
    public let text: String

    /// - Throws: `OCIError.mediaType` unless the text is `type/subtype`, both restricted names of at most 127
    ///   characters.
    public init(parsing text: some StringProtocol) throws(OCIError) {
        let parts = text.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ Self.isRestrictedName($0) }) else { throw .mediaType(String(text)) }
        self.text = String(text)
    }

    private init(known text: String) { self.text = text }

    public var description: String { text }

    /// Whether a name is a restricted one (RFC 6838, section 4.2).
    private static func isRestrictedName(_ name: some Collection<UInt8>) -> Bool {
        guard let first = name.first, first.isLetterOrDigit, name.count <= 127 else { return false }
        return name.allSatisfy { $0.isLetterOrDigit || "!#$&-^_.+".utf8.contains($0) }
    }
}

extension MediaType {
    // OCI image specification, media-types.md.
    public static let ociManifest = MediaType(known: "application/vnd.oci.image.manifest.v1+json")
    public static let ociIndex = MediaType(known: "application/vnd.oci.image.index.v1+json")
    public static let ociConfig = MediaType(known: "application/vnd.oci.image.config.v1+json")
    public static let ociLayer = MediaType(known: "application/vnd.oci.image.layer.v1.tar")
    public static let ociLayerGzip = MediaType(known: "application/vnd.oci.image.layer.v1.tar+gzip")
    public static let ociLayerZstd = MediaType(known: "application/vnd.oci.image.layer.v1.tar+zstd")
    public static let ociEmpty = MediaType(known: "application/vnd.oci.empty.v1+json")

    // Docker image manifest version 2, schema 2.
    public static let dockerManifest = MediaType(known: "application/vnd.docker.distribution.manifest.v2+json")
    public static let dockerManifestList = MediaType(
        known: "application/vnd.docker.distribution.manifest.list.v2+json")
    public static let dockerConfig = MediaType(known: "application/vnd.docker.container.image.v1+json")
    public static let dockerLayer = MediaType(known: "application/vnd.docker.image.rootfs.diff.tar")
    public static let dockerLayerGzip = MediaType(known: "application/vnd.docker.image.rootfs.diff.tar.gzip")

    // Documents about an image: SPDX 2.3, in-toto attestations and their envelopes (DSSE 1.0).
    public static let spdx = MediaType(known: "application/spdx+json")
    public static let inToto = MediaType(known: "application/vnd.in-toto+json")
    public static let dsse = MediaType(known: "application/vnd.dsse.envelope.v1+json")

    public static let octetStream = MediaType(known: "application/octet-stream")
}

extension UInt8 {
    var isLowerOrDigit: Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(self) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self)
    }

    var isLetterOrDigit: Bool { isLowerOrDigit || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(self) }
}
