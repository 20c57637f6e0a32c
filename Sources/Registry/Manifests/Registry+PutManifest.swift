import Blobs
public import OCI
import ObjectStore
import Records

/// The result of a manifest's push.
public struct PushedManifest: Sendable {
    public let digest: Digest
    public let subject: Digest?
}

extension Registry {
    /// The most tags that one push may set.
    public static let maximumTags = 64

    /// Stores a manifest in a repository, byte for byte, and points tags to it ("Pushing Manifests").
    /// - Parameters:
    ///   - reference: a tag, or the digest that the bytes must have.
    ///   - tags: more tags, at most `maximumTags`.
    ///   - contentType: the sender's Content-Type.
    /// - Throws: `.invalidManifest`, `.mismatch`, `.tooLarge`; `.missingContent` for content that the repository has a
    ///   record of but that is lost. Content that the repository never had may be named: it may be elsewhere or be
    ///   pushed later.
    public func putManifest(
        _ name: RepositoryName, _ reference: Reference, tags: [Tag] = [], contentType: String?, _ bytes: [UInt8]
    ) async throws(RegistryError) -> PushedManifest {
        let manifest = try await ParsedManifest(bytes, as: reference, contentType: contentType)
        var tags = tags
        if case .tag(let tag) = reference { tags.append(tag) }
        return try await putManifest(name, tags: tags, manifest)
    }

    /// Stores a manifest that was parsed.
    /// - Throws: as the other one does.
    public func putManifest(
        _ name: RepositoryName, tags: [Tag], _ manifest: ParsedManifest
    ) async throws(RegistryError) -> PushedManifest {
        let (content, bytes, digest) = (manifest.content, manifest.bytes, manifest.digest)
        let keys = RepositoryKeys(name: name)
        let reservation = try await reservation(for: name, digest, bytes.count)
        // Leases are renewed before the links below are written, so that a collector that has not seen the links keeps
        // the content.
        try await require(content, keys)
        _ = try await RegistryError.ofBlobs(await blobs.put(bytes, digest.algorithm))
        try await renewMarker(keys)
        let generation = try await join(keys, digest, content, size: bytes.count, reservation)
        try await point(tags, to: digest, generation, keys)
        if let subject = content.subject {
            let record = ReferrerRecord(
                descriptor: descriptor(of: content, digest, size: bytes.count), generation: generation)
            try await records.write(record, at: try keys.referrer(subject, digest))
        }
        try await records.sync()
        return PushedManifest(digest: digest, subject: content.subject)
    }

    /// Renews the leases of all content that a manifest names and the repository has.
    /// - Throws: `.missingContent` if required content is lost; `.invalidManifest` for content of another size than the
    ///   manifest states, since no client could pull it.
    private func require(_ content: ManifestContent, _ keys: RepositoryKeys) async throws(RegistryError) {
        var missing: [Digest] = []
        var sizes: [Digest: Int64] = [:]
        for digest in content.references {
            let blobRecord = try await records.find(try keys.blob(digest), as: BlobMembership.self)
            let manifestRecord = try await records.find(try keys.manifest(digest), as: ManifestMembership.self)
            guard blobRecord.isThere || manifestRecord.isThere else { continue }
            sizes[digest] = blobRecord.readable?.value.size ?? manifestRecord.readable?.value.size
            let blob = try await RegistryError.ofBlobs(await blobs.renewIfOld(digest))
            if blob == nil, content.requirements.contains(digest) { missing.append(digest) }
            if manifestRecord.isThere { try await touch(keys, digest) }
        }
        for descriptor in content.descriptors {
            guard let size = sizes[descriptor.digest], size != descriptor.size else { continue }
            throw .invalidManifest(
                "the manifest says that \(descriptor.digest) has \(descriptor.size) bytes, and it has \(size)")
        }
        if !missing.isEmpty { throw .missingContent(missing) }
    }

    /// Reserves a manifest's bytes in the quotas, unless the repository has the manifest already.
    private func reservation(
        for name: RepositoryName, _ digest: Digest, _ size: Int
    ) async throws(RegistryError) -> QuotaReservation {
        let reservation = quotas.reservation(for: name)
        guard quotas.isActive else { return reservation }
        let key = try RepositoryKeys(name: name).manifest(digest)
        if try await !records.find(key, as: ManifestMembership.self).isThere {
            try await reservation.cover(for: Int64(size))
        }
        return reservation
    }

    /// Writes a manifest's membership, or renews the one that is there.
    /// - Returns: its generation.
    private func join(
        _ keys: RepositoryKeys, _ digest: Digest, _ content: ManifestContent, size: Int,
        _ reservation: QuotaReservation
    ) async throws(RegistryError) -> String {
        var membership = ManifestMembership(
            mediaType: content.mediaType, size: Int64(size), generation: Self.newGeneration(), subject: content.subject,
            pushed: Lease(now()), references: content.references)
        var isNew = false
        // A damaged membership is replaced by a new generation, to which no earlier tag or referrer points.
        try await records.update(
            try keys.manifest(digest), as: ManifestMembership.self, replacingDamaged: true
        ) { found in
            isNew = found == nil
            // The same bytes keep their generation; the newest push decides on the Content-Type and the time.
            membership.generation = found?.value.generation ?? Self.newGeneration()
            return .write(membership)
        }
        if isNew { reservation.commit(membership.size) }
        return membership.generation
    }

    private func point(
        _ tags: [Tag], to digest: Digest, _ generation: String, _ keys: RepositoryKeys
    ) async throws(RegistryError) {
        for tag in tags {
            try await records.write(TagRecord(digest: digest, generation: generation), at: try keys.tag(tag))
        }
    }

    func descriptor(of content: ManifestContent, _ digest: Digest, size: Int) -> Descriptor {
        Descriptor(
            mediaType: (try? MediaType(parsing: content.mediaType)) ?? .octetStream, digest: digest,
            size: Int64(size), annotations: content.annotations, artifactType: content.artifactType)
    }

    static func newGeneration() -> String {
        var generator = SystemRandomNumberGenerator()
        return String(generator.next() as UInt64, radix: 16)
    }
}
