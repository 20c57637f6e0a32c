import Blobs
package import OCI
import ObjectStore
package import Records

/// Damaged records that verification writes again from other records.
extension Registry {
    /// Writes a manifest's damaged membership again: from the manifest's bytes, with the generation that its tags name
    /// if they agree on one.
    /// - Returns: nil if the manifest can't be read, or the record was changed meanwhile.
    package func mend(
        _ record: UnreadableRecord, _ keys: RepositoryKeys, _ digest: Digest
    ) async throws(RegistryError) -> ManifestMembership? {
        guard record.fault == .damaged,
            let bytes = try? await blobs.read(digest, maximum: ManifestContent.maximumSize),
            let content = try? ManifestContent(bytes, contentType: nil)
        else { return nil }
        var generations: Set<String> = []
        try await records.forEach(keys.tags) { (key) throws(RegistryError) in
            guard let tag = try await records.readable(key, as: TagRecord.self)?.value, tag.digest == digest else {
                return
            }
            generations.insert(tag.generation)
        }
        let generation = generations.count == 1 ? generations.first : nil
        let membership = ManifestMembership(
            mediaType: content.mediaType, size: Int64(bytes.count), generation: generation ?? Self.newGeneration(),
            subject: content.subject, pushed: Lease(now()), references: content.references)
        try await renewMarker(keys)
        guard try await records.write(membership, at: record.key, if: .version(record.version)) != nil else {
            return nil
        }
        return membership
    }

    /// Writes the referrer record of a manifest that has a subject again.
    package func relink(
        _ keys: RepositoryKeys, _ digest: Digest, _ membership: ManifestMembership
    ) async throws(RegistryError) {
        guard let subject = membership.subject,
            let bytes = try? await blobs.read(digest, maximum: ManifestContent.maximumSize),
            let content = try? ManifestContent(bytes, contentType: membership.mediaType)
        else { return }
        let record = ReferrerRecord(
            descriptor: descriptor(of: content, digest, size: bytes.count), generation: membership.generation)
        try await records.write(record, at: try keys.referrer(subject, digest))
    }
}
