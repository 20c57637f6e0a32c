public import JSON

/// An image manifest (OCI image specification, manifest.md) or a Docker one of version 2, schema 2, which has the same
/// members. A document whose `layers` are null or missing has none.
public struct Manifest: Hashable, Sendable {
    /// The document's own `mediaType`; OCI manifests may leave it out.
    public var mediaType: MediaType?
    public var artifactType: MediaType?
    public var config: Descriptor
    public var layers: [Descriptor]
    public var subject: Descriptor?
    public var annotations: ByName<String>
    public var other: JSONObject

    public init(
        mediaType: MediaType?, config: Descriptor, layers: [Descriptor], annotations: ByName<String> = [:],
        artifactType: MediaType? = nil, subject: Descriptor? = nil
    ) {
        self.mediaType = mediaType
        self.artifactType = artifactType
        self.config = config
        self.layers = layers
        self.subject = subject
        self.annotations = annotations
        self.other = [:]
    }

    /// - Throws: `OCIError.document` for anything that is no manifest, an index with `layers` included
    ///   (CVE-2021-41190).
    public init(json: JSONValue) throws(OCIError) {
        var members = try Members(json, of: "the manifest")
        try members.schemaVersion()
        guard members.value("manifests") == nil else {
            throw .document("the manifest has 'manifests', which only an index may have")
        }
        mediaType = try members.mediaType("mediaType")
        artifactType = try members.mediaType("artifactType")
        guard let config = members.value("config") else { throw members.wrong("config") }
        self.config = try Descriptor(json: config, of: members.path("config"))
        layers = try members.listOrNone("layers") { (json, what) throws(OCIError) in
            try Descriptor(json: json, of: what)
        }
        subject = try members.value("subject").map { (json) throws(OCIError) in
            try Descriptor(json: json, of: members.path("subject"))
        }
        annotations = try members.strings("annotations")
        other = members.rest
    }

    public var json: JSONValue {
        var members = other
        members["schemaVersion"] = 2
        members.set("mediaType", mediaType)
        members.set("artifactType", artifactType)
        members["config"] = config.json
        members["layers"] = .array(layers.map(\.json))
        if let subject { members["subject"] = subject.json }
        members.set("annotations", annotations)
        return .object(members)
    }
}

/// An image index (OCI image specification, image-index.md) or a Docker manifest list. A document whose `manifests` are
/// null or missing has none.
public struct Index: Hashable, Sendable {
    public var mediaType: MediaType?
    public var artifactType: MediaType?
    public var manifests: [Descriptor]
    public var subject: Descriptor?
    public var annotations: ByName<String>
    public var other: JSONObject

    public init(
        mediaType: MediaType?, manifests: [Descriptor], annotations: ByName<String> = [:],
        artifactType: MediaType? = nil, subject: Descriptor? = nil
    ) {
        self.mediaType = mediaType
        self.artifactType = artifactType
        self.manifests = manifests
        self.subject = subject
        self.annotations = annotations
        self.other = [:]
    }

    /// - Throws: `OCIError.document` for anything that is no index, a manifest included (CVE-2021-41190).
    public init(json: JSONValue) throws(OCIError) {
        var members = try Members(json, of: "the index")
        try members.schemaVersion()
        guard members.value("layers") == nil, members.value("config") == nil else {
            throw .document("the index has 'layers' or 'config', which only a manifest may have")
        }
        mediaType = try members.mediaType("mediaType")
        artifactType = try members.mediaType("artifactType")
        manifests = try members.listOrNone("manifests") { (json, what) throws(OCIError) in
            try Descriptor(json: json, of: what)
        }
        subject = try members.value("subject").map { (json) throws(OCIError) in
            try Descriptor(json: json, of: members.path("subject"))
        }
        annotations = try members.strings("annotations")
        other = members.rest
    }

    public var json: JSONValue {
        var members = other
        members["schemaVersion"] = 2
        members.set("mediaType", mediaType)
        members.set("artifactType", artifactType)
        members["manifests"] = .array(manifests.map(\.json))
        if let subject { members["subject"] = subject.json }
        members.set("annotations", annotations)
        return .object(members)
    }
}
