package import JSON
package import OCI
package import ObjectStore
package import Records

/// The record that a repository has a manifest: `repositories/<name>/_manifests/<algorithm>/<hex>`.
package struct ManifestMembership: JSONRecord, Hashable {
    package var mediaType: String
    /// In bytes.
    package var size: Int64
    /// A new value each time the manifest is pushed again after a deletion, so that older tags don't point to it.
    package var generation: String
    package var subject: Digest?
    /// When the manifest was last pushed, requested by digest or named in an index: a lease on this membership.
    package var pushed: Lease
    /// All digests that the manifest names, so that a collector need not read the manifest; nil if there are more than
    /// `maximumReferences`, because each pull reads this record and only collectors need the list.
    package var references: [Digest]?

    package static let maximumReferences = 64

    package init(
        mediaType: String, size: Int64, generation: String, subject: Digest?, pushed: Lease, references: [Digest]?
    ) {
        self.mediaType = mediaType
        self.size = size
        self.generation = generation
        self.subject = subject
        self.pushed = pushed
        self.references = references.flatMap { $0.count > Self.maximumReferences ? nil : $0 }
    }

    package init?(_ json: JSONValue, at key: ObjectKey) {
        guard let mediaType = json["mediaType"]?.string, let size = json["size"]?.byteCount,
            let generation = json["generation"]?.string, let pushed = json["pushed"]?.integer
        else { return nil }
        var digests: [Digest]?
        if let references = json["references"] {
            guard let texts = references.array else { return nil }
            let parsed = texts.compactMap { $0.string.flatMap { try? Digest(parsing: $0) } }
            guard parsed.count == texts.count else { return nil }
            digests = parsed
        }
        self.init(
            mediaType: mediaType, size: size, generation: generation,
            subject: json["subject"]?.string.flatMap { try? Digest(parsing: $0) }, pushed: Lease(pushed),
            references: digests)
    }

    package var json: JSONValue {
        var members: JSONObject = [
            "generation": .string(generation), "mediaType": .string(mediaType), "pushed": .integer(pushed.time),
            "size": .integer(size),
        ]
        if let references { members["references"] = .array(references.map { .string($0.description) }) }
        if let subject { members["subject"] = .string(subject.description) }
        return .object(members)
    }
}

/// The record that a repository has a blob: `repositories/<name>/_blobs/<algorithm>/<hex>`.
package struct BlobMembership: JSONRecord, Hashable {
    /// In bytes.
    package var size: Int64

    package init(size: Int64) { self.size = size }

    package init?(_ json: JSONValue, at key: ObjectKey) {
        guard let size = json["size"]?.byteCount else { return nil }
        self.size = size
    }

    package var json: JSONValue { ["size": .integer(size)] }
}

/// The record of a tag's target: `repositories/<name>/_tags/<tag>`.
package struct TagRecord: JSONRecord, Hashable {
    package var digest: Digest
    /// The generation of the membership that the tag points to. If the membership has another one now, the tag is gone.
    package var generation: String

    package init(digest: Digest, generation: String) {
        self.digest = digest
        self.generation = generation
    }

    package init?(_ json: JSONValue, at key: ObjectKey) {
        guard let digest = json["digest"]?.string.flatMap({ try? Digest(parsing: $0) }),
            let generation = json["generation"]?.string
        else { return nil }
        self.init(digest: digest, generation: generation)
    }

    package var json: JSONValue { ["digest": .string(digest.description), "generation": .string(generation)] }
}

/// The record of a manifest that refers to another one: `repositories/<name>/_referrers/<subject>/<digest>`.
package struct ReferrerRecord: JSONRecord, Hashable {
    package var descriptor: Descriptor
    package var generation: String

    package init(descriptor: Descriptor, generation: String) {
        self.descriptor = descriptor
        self.generation = generation
    }

    package init?(_ json: JSONValue, at key: ObjectKey) {
        guard let descriptor = json["descriptor"].flatMap({ try? Descriptor(json: $0) }),
            let generation = json["generation"]?.string
        else { return nil }
        self.init(descriptor: descriptor, generation: generation)
    }

    package var json: JSONValue { ["descriptor": descriptor.json, "generation": .string(generation)] }
}

/// The record that a repository exists: `catalog/<escaped name>`.
package struct CatalogMarker: JSONRecord, Hashable {
    /// When its manifests were last about to change, give or take a quarter of the grace period.
    package var changed: Lease

    package init(changed: Lease) { self.changed = changed }

    /// A marker without a time, as earlier versions wrote it, counts as infinitely old.
    package init?(_ json: JSONValue, at key: ObjectKey) {
        guard json.object != nil else { return nil }
        changed = Lease(json["changed"]?.integer ?? 0)
    }

    package var json: JSONValue { ["changed": .integer(changed.time)] }
}
