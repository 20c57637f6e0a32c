import Blobs
package import OCI
import ObjectStore
package import Records

/// What verification writes again from what others know.
extension Registry {
    /// Writes a manifest's damaged membership again: from the manifest itself, and with the generation that those have who
    /// point to it, if they agree.
    /// - Returns: nil if that can't be read either.
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

    /// Writes down again that a manifest refers to its subject.
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
