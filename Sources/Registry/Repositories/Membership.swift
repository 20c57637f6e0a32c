package import JSON
package import OCI
package import ObjectStore
package import Records

/// That a repository has a manifest: `repositories/<name>/_manifests/<algorithm>/<hex>`.
package struct ManifestMembership: JSONRecord, Hashable {
    package var mediaType: String
    /// In bytes.
    package var size: Int64
    /// Another one each time that the manifest comes back after it was deleted, so that tags from before stay gone.
    package var generation: String
    package var subject: Digest?
    /// When somebody last pushed it, asked for it by digest or named it in an index: a lease on its place here.
    package var pushed: Lease
    /// All content that the manifest names, so that a collector need not read the manifest itself; nil if that is more
    /// than `maximumReferences`: pulls must not pay for what only collectors want.
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
        var members: [String: JSONValue] = [
            "generation": .string(generation), "mediaType": .string(mediaType), "pushed": .integer(pushed.time),
            "size": .integer(size),
        ]
        if let references { members["references"] = .array(references.map { .string($0.description) }) }
        if let subject { members["subject"] = .string(subject.description) }
        return .object(members)
    }
}

/// That a repository has a blob: `repositories/<name>/_blobs/<algorithm>/<hex>`.
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

/// What a tag points to: `repositories/<name>/_tags/<tag>`.
package struct TagRecord: JSONRecord, Hashable {
    package var digest: Digest
    /// Of the membership that it points to: if that has another one by now, the tag is gone.
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

/// A manifest that refers to another one: `repositories/<name>/_referrers/<subject>/<digest>`.
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

/// A repository exists: `catalog/<escaped name>`.
package struct CatalogMarker: JSONRecord, Hashable {
    /// When its manifests were last about to change, give or take a quarter of the grace period.
    package var changed: Lease

    package init(changed: Lease) { self.changed = changed }

    /// A marker of before these had a time is as old as can be.
    package init?(_ json: JSONValue, at key: ObjectKey) {
        guard json.object != nil else { return nil }
        changed = Lease(json["changed"]?.integer ?? 0)
    }

    package var json: JSONValue { ["changed": .integer(changed.time)] }
}
