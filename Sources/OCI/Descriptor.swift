public import JSON

/// A reference to content: media type, digest and size (OCI image specification, descriptor.md).
public struct Descriptor: Hashable, Sendable {
    public var mediaType: MediaType
    public var digest: Digest
    /// In bytes; never negative.
    public var size: Int64
    public var annotations: [String: String]
    public var artifactType: MediaType?
    public var platform: Platform?
    /// Members that Cistern does not know; written back as they were.
    public var other: [String: JSONValue]

    public init(
        mediaType: MediaType, digest: Digest, size: Int64, annotations: [String: String] = [:],
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
    public init(json: JSONValue) throws(OCIError) {
        var members = try Members(json, of: "a descriptor")
        mediaType = try MediaType(parsing: try members.requiredString("mediaType"))
        digest = try Digest(parsing: try members.requiredString("digest"))
        size = try members.requiredSize("size")
        annotations = try members.strings("annotations")
        artifactType = try members.mediaType("artifactType")
        platform = try members.value("platform").map { (json) throws(OCIError) in try Platform(json: json) }
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
