import Blobs
public import OCI
import ObjectStore
package import Records

/// A manifest as it was pushed.
public struct StoredManifest: Sendable {
    public let digest: Digest
    public let mediaType: String
    public let bytes: [UInt8]
}

extension Registry {
    /// A repository's manifest, byte for byte ("Pulling manifests").
    /// - Throws: `.unknownManifest`.
    public func manifest(
        _ name: RepositoryName, _ reference: Reference
    ) async throws(RegistryError) -> StoredManifest {
        let (digest, membership) = try await resolve(name, reference)
        let bytes: [UInt8]
        do { bytes = try await blobs.read(digest, maximum: ManifestContent.maximumSize) } catch {
            if case .missing = error { throw .unknownManifest(name, reference) }
            throw .blob(error)
        }
        return StoredManifest(digest: digest, mediaType: membership.mediaType, bytes: bytes)
    }

    /// Answers a HEAD request for a manifest: renews leases and does not read the manifest.
    /// - Throws: `.unknownManifest`.
    public func manifestInfo(
        _ name: RepositoryName, _ reference: Reference
    ) async throws(RegistryError) -> (descriptor: Descriptor, mediaType: String) {
        let (digest, membership) = try await resolve(name, reference)
        let blob = try await RegistryError.ofBlobs(await blobs.renewIfOld(digest))
        guard blob != nil else { throw .unknownManifest(name, reference) }
        if case .digest = reference { try await touch(RepositoryKeys(name: name), digest) }
        let type = (try? MediaType(parsing: membership.mediaType)) ?? .octetStream
        return (Descriptor(mediaType: type, digest: digest, size: membership.size), membership.mediaType)
    }

    /// Removes a manifest from a repository, with the tags that point to it and its entry among its subject's referrers
    /// ("Deleting Manifests").
    /// - Throws: `.unknownManifest`.
    public func deleteManifest(_ name: RepositoryName, _ digest: Digest) async throws(RegistryError) {
        let keys = RepositoryKeys(name: name)
        let key = try keys.manifest(digest)
        let found = try await records.find(key, as: ManifestMembership.self)
        guard found.isThere else { throw .unknownManifest(name, .digest(digest)) }
        try await renewMarker(keys)
        // Removing the membership deletes the manifest, since tags and referrers name its generation. The rest cleans
        // those up.
        try await records.remove(key)
        quotas.removed()
        if let manifest = found.readable?.value {
            if let subject = manifest.subject {
                try await removeReferrer(digest, of: subject, manifest.generation, keys)
            }
            try await removeTags(of: digest, manifest.generation, keys)
        }
        try await records.sync()
    }

    /// Removes the referrer record that a manifest of this generation left at its subject.
    package func removeReferrer(
        _ digest: Digest, of subject: Digest, _ generation: String, _ keys: RepositoryKeys
    ) async throws(RegistryError) {
        let key = try keys.referrer(subject, digest)
        guard let record: StoredRecord<ReferrerRecord> = try await records.readable(key),
            record.value.generation == generation
        else { return }
        _ = try await records.remove(key, version: record.version)
    }

    /// - Throws: `.unknownManifest`.
    public func deleteTag(_ name: RepositoryName, _ tag: Tag) async throws(RegistryError) {
        let key = try RepositoryKeys(name: name).tag(tag)
        // A tag whose record can't be read can't be resolved, so it is removed without looking for its manifest.
        if case .unreadable = try await records.find(key, as: TagRecord.self) {
        } else {
            _ = try await resolve(name, .tag(tag))
        }
        try await records.remove(key)
        try await records.sync()
    }

    /// The digest and membership of the manifest that a reference stands for.
    /// - Throws: `.unknownManifest`.
    func resolve(
        _ name: RepositoryName, _ reference: Reference
    ) async throws(RegistryError) -> (Digest, ManifestMembership) {
        let keys = RepositoryKeys(name: name)
        switch reference {
        case .digest(let digest):
            guard let membership: StoredRecord<ManifestMembership> = try await records.read(try keys.manifest(digest))
            else { throw .unknownManifest(name, reference) }
            return (digest, membership.value)
        case .tag(let tag):
            guard let record: StoredRecord<TagRecord> = try await records.read(try keys.tag(tag)),
                let membership = try await membership(keys, record.value.digest, record.value.generation)
            else { throw .unknownManifest(name, reference) }
            return (record.value.digest, membership)
        }
    }

    /// A manifest's membership; nil if it is missing, can't be read or has another generation.
    package func membership(
        _ keys: RepositoryKeys, _ digest: Digest, _ generation: String
    ) async throws(RegistryError) -> ManifestMembership? {
        guard let stored: StoredRecord<ManifestMembership> = try await records.readable(try keys.manifest(digest)),
            stored.value.generation == generation
        else { return nil }
        return stored.value
    }

    /// All digests that a repository's manifest names, except its subject.
    /// - Throws: `.blob` if the manifest itself has to be read and can't be.
    package func references(
        of digest: Digest, _ membership: ManifestMembership
    ) async throws(RegistryError) -> [Digest] {
        if let references = membership.references { return references }
        let bytes: [UInt8]
        do { bytes = try await blobs.read(digest, maximum: ManifestContent.maximumSize) } catch {
            // A manifest whose bytes are gone can't be pulled, so it names nothing. A quarantined one may be pushed again.
            if case .missing = error, await !blobs.isQuarantined(digest) { return [] }
            throw .blob(error)
        }
        return try ManifestContent(bytes, contentType: membership.mediaType).references
    }

    /// All digests that a manifest may name, for a manifest that can't be read or whose membership can't be read: every
    /// string in the manifest that parses as a digest. If its bytes can't be read, it is every blob of the repository,
    /// since the repository serves no others.
    package func possibleReferences(
        of manifest: Digest, _ keys: RepositoryKeys, in records: RecordStore<RegistryError>
    ) async throws(RegistryError) -> [Digest] {
        if let bytes = try? await blobs.read(manifest, maximum: ManifestContent.maximumSize) {
            return ManifestContent.digests(in: bytes)
        }
        var digests: [Digest] = []
        try await records.forEach(keys.blobs) { key in
            if let blob = digest(ending: key) { digests.append(blob) }
        }
        return digests
    }

    private func removeTags(
        of digest: Digest, _ generation: String, _ keys: RepositoryKeys
    ) async throws(RegistryError) {
        var after: String?
        while true {
            let page = try await records.list(keys.tags, after: after, limit: 1000)
            for key in page {
                guard let tag: StoredRecord<TagRecord> = try await records.readable(key), tag.value.digest == digest,
                    tag.value.generation == generation
                else { continue }
                // The version is the condition: a tag that changed meanwhile points to a manifest that was pushed
                // since.
                _ = try await records.remove(key, version: tag.version)
            }
            guard let last = page.last else { return }
            after = last.text
        }
    }

    /// Renews the lease of a manifest's membership, because a request by digest or an index that names it counts like a
    /// push.
    func touch(_ keys: RepositoryKeys, _ digest: Digest) async throws(RegistryError) {
        do {
            try await records.update(try keys.manifest(digest), as: ManifestMembership.self) { found in
                guard var membership = found?.value, membership.pushed.needsRenewal(at: now(), grace: blobs.grace)
                else { return .keep }
                membership.pushed = membership.pushed.renewed(at: now())
                return .write(membership)
            }
        } catch .unreadable {
            // The record can't be renewed, which does no harm: retention retires nothing from a repository with such a
            // record.
        }
    }
}
