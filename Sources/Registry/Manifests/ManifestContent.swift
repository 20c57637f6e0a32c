import JSON
import OCI

/// What the registry reads from a pushed manifest.
struct ManifestContent: Sendable {
    /// The largest manifest that is taken, in bytes (OCI distribution specification, "Pushing Manifests").
    static let maximumSize = 4 << 20

    let mediaType: String
    let subject: Digest?
    /// The type that the referrers list shows: the manifest's own, or the config's media type.
    let artifactType: MediaType?
    let annotations: ByName<String>
    /// Digests that the push requires to be stored if the repository has a record of them; foreign layers are not
    /// required.
    let requirements: Set<Digest>
    /// All digests that the manifest names, except its subject.
    let references: [Digest]
    /// What a manifest or index names, with the sizes that it states; empty for other types. The subject is not among
    /// it, since it is not pulled with the manifest.
    let descriptors: [Descriptor]

    /// - Parameters:
    ///   - contentType: the sender's Content-Type, if any.
    ///   - isPush: refuses what earlier versions took and nobody can pull.
    /// - Throws: `.invalidManifest`.
    init(_ bytes: [UInt8], contentType: String?, isPush: Bool = false) throws(RegistryError) {
        let declared = contentType.map(Self.withoutParameters)
        let document = Result { () throws(JSONError) in try JSONValue(parsing: bytes) }
        let json = try? document.get()
        let inner = json?["mediaType"]?.string
        if let inner, let declared, inner.lowercased() != declared.lowercased() {
            throw .invalidManifest("the manifest's mediaType is '\(inner)' and its Content-Type '\(declared)'")
        }
        guard let text = declared ?? inner ?? Self.guess(json) else {
            throw .invalidManifest("the manifest has neither a Content-Type nor a mediaType")
        }
        guard let type = try? MediaType(parsing: text) else {
            throw .invalidManifest("'\(text.prefix(100))' is no media type")
        }
        if isPush { try Self.refuseSchema1(json, type) }
        switch type {
        case .ociManifest, .dockerManifest, .ociIndex, .dockerManifestList:
            let json: JSONValue
            do { json = try document.get() } catch { throw .invalidManifest("the manifest is \(error)") }
            if [.ociManifest, .dockerManifest].contains(type) {
                try self.init(manifest: json, type)
            } else {
                try self.init(index: json, type)
            }
        default: self.init(other: json, type)
        }
    }

    private init(manifest json: JSONValue, _ type: MediaType) throws(RegistryError) {
        let manifest: Manifest
        do { manifest = try Manifest(json: json) } catch { throw .invalidManifest("\(error)") }
        descriptors = [manifest.config] + manifest.layers
        mediaType = type.text
        subject = manifest.subject?.digest
        artifactType = manifest.artifactType ?? manifest.config.mediaType
        annotations = manifest.annotations
        requirements = Set(descriptors.filter { !Self.isForeign($0) }.map(\.digest))
        references = descriptors.map(\.digest).unique
    }

    private init(index json: JSONValue, _ type: MediaType) throws(RegistryError) {
        let index: Index
        do { index = try Index(json: json) } catch { throw .invalidManifest("\(error)") }
        mediaType = type.text
        subject = index.subject?.digest
        artifactType = index.artifactType
        annotations = index.annotations
        descriptors = index.manifests
        requirements = Set(index.manifests.map(\.digest))
        references = index.manifests.map(\.digest).unique
    }

    /// Reads a manifest of an unknown media type. Every string that parses as a digest counts as a reference, so that
    /// no content that the manifest may depend on is collected.
    private init(other json: JSONValue?, _ type: MediaType) {
        var digests: [Digest] = []
        if let json { Self.collect(json, into: &digests) }
        let subject = json?["subject"].flatMap { try? Descriptor(json: $0) }?.digest
        mediaType = type.text
        self.subject = subject
        artifactType = json?["artifactType"]?.string.flatMap { try? MediaType(parsing: $0) }
        annotations = (json?["annotations"]?.object ?? [:]).compactMapValues(\.string)
        requirements = []
        descriptors = []
        references = digests.unique.filter { $0 != subject }
    }

    /// Refuses a manifest that could be stored, but not pulled by the digest that Docker's clients compute: that of a
    /// schema 1 leaves out its signature.
    private static func refuseSchema1(_ json: JSONValue?, _ type: MediaType) throws(RegistryError) {
        let isDeclared = type.text.hasPrefix("application/vnd.docker.distribution.manifest.v1+")
        let isOne = json?["schemaVersion"]?.integer == 1 && json?["fsLayers"] != nil
        guard isDeclared || isOne else { return }
        throw .invalidManifest(
            "Docker's manifests of schema 1 are not taken: push the image with Docker 1.10 or later, or convert it "
                + "(skopeo copy --format oci)")
    }

    /// Every string in a JSON document that parses as a digest; none if the bytes are no JSON.
    static func digests(in bytes: [UInt8]) -> [Digest] {
        var digests: [Digest] = []
        if let json = try? JSONValue(parsing: bytes) { collect(json, into: &digests) }
        return digests.unique
    }

    /// Layers that registries need not hold (OCI image specification, "Non-Distributable Layers").
    private static func isForeign(_ descriptor: Descriptor) -> Bool {
        let type = descriptor.mediaType.text
        return type.contains(".nondistributable.") || type.contains(".foreign.")
            || descriptor.other["urls"]?.array?.isEmpty == false
    }

    private static func collect(_ json: JSONValue, into digests: inout [Digest]) {
        switch json {
        case .string(let text): if let digest = try? Digest(parsing: text) { digests.append(digest) }
        case .array(let values): for value in values { collect(value, into: &digests) }
        case .object(let members): for value in members.values { collect(value, into: &digests) }
        default: break
        }
    }

    private static func guess(_ json: JSONValue?) -> String? {
        if json?["config"] != nil { return MediaType.ociManifest.text }
        return json?["manifests"] != nil ? MediaType.ociIndex.text : nil
    }

    private static func withoutParameters(_ type: String) -> String {
        let bare = type.prefix { $0 != ";" }
        return String(bare.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
    }
}

extension Array where Element: Hashable {
    /// Each element once, at its first place.
    fileprivate var unique: [Element] {
        var seen: Set<Element> = []
        return filter { seen.insert($0).inserted }
    }
}
