public import Blobs
public import OCI
import ObjectStore
import Records

extension Registry {
    /// Finds a blob of a repository and renews its lease, since the client is likely to rely on the blob next.
    /// - Throws: `.unknownBlob`.
    public func blob(_ name: RepositoryName, _ digest: Digest) async throws(RegistryError) -> Blob {
        guard try await has(name, digest) else { throw .unknownBlob(name, digest) }
        guard let blob = try await RegistryError.ofBlobs(await blobs.renewIfOld(digest)) else {
            throw .unknownBlob(name, digest)
        }
        return blob
    }

    /// Opens a blob of a repository. Close its reader when done.
    /// - Parameter isRead: whether the bytes will be read.
    /// - Throws: `.unknownBlob`; `.blob(.damaged)` if the bytes are not those of the digest.
    public func openBlob(
        _ name: RepositoryName, _ digest: Digest, isRead: Bool = true
    ) async throws(RegistryError) -> OpenBlob {
        guard try await has(name, digest) else { throw .unknownBlob(name, digest) }
        do { return try await blobs.open(digest, isRead: isRead) } catch {
            if case .missing = error { throw .unknownBlob(name, digest) }
            throw .blob(error)
        }
    }

    /// A URL by which a client reads a blob of a repository directly from the store.
    /// - Returns: nil if the store offers no such URLs, or the blob's content is inside its record.
    /// - Throws: `.unknownBlob`.
    public func presignedURL(
        _ name: RepositoryName, _ digest: Digest, lifetime: Duration
    ) async throws(RegistryError) -> String? {
        guard try await has(name, digest) else { throw .unknownBlob(name, digest) }
        do { return try await blobs.presignedURL(for: digest, lifetime: lifetime) } catch {
            if case .missing = error { throw .unknownBlob(name, digest) }
            throw .blob(error)
        }
    }

    /// Adds a blob of another repository to a repository ("Mounting a blob from another repository").
    /// - Parameter source: the caller must have checked that the client may read this repository.
    /// - Returns: nil if the source does not have the blob.
    public func mount(
        _ digest: Digest, from source: RepositoryName, to name: RepositoryName
    ) async throws(RegistryError) -> Blob? {
        guard try await has(source, digest) else { return nil }
        return try await link(digest, to: name)
    }

    /// Adds content that is in the blob store, for whatever reason, to a repository.
    /// - Returns: nil if it is not there.
    public func link(_ digest: Digest, to name: RepositoryName) async throws(RegistryError) -> Blob? {
        guard let blob = try await RegistryError.ofBlobs(await blobs.renew(digest)) else { return nil }
        try await link(blob, to: name, try await reservation(of: digest, blob.size, in: name))
        return blob
    }

    /// Adds a document that is in memory to a repository, as a blob.
    /// - Parameter digest: the document's.
    public func put(
        _ bytes: [UInt8], as digest: Digest, to name: RepositoryName
    ) async throws(RegistryError) -> Blob {
        let reservation = try await reservation(of: digest, Int64(bytes.count), in: name)
        let blob = try await RegistryError.ofBlobs(await blobs.put(bytes, digest.algorithm))
        try await link(blob, to: name, reservation)
        return blob
    }

    /// Reserves a blob's bytes in the quotas, unless the repository has the blob already.
    private func reservation(
        of digest: Digest, _ size: Int64, in name: RepositoryName
    ) async throws(RegistryError) -> QuotaReservation {
        let reservation = quotas.reservation(for: name)
        if quotas.isActive, try await !has(name, digest) { try await reservation.cover(for: size) }
        return reservation
    }

    /// Removes a blob from a repository. Its bytes stay as long as other repositories have it.
    /// - Throws: `.unknownBlob`.
    public func deleteBlob(_ name: RepositoryName, _ digest: Digest) async throws(RegistryError) {
        let key = try RepositoryKeys(name: name).blob(digest)
        guard try await records.isThere(key) else { throw .unknownBlob(name, digest) }
        try await records.remove(key)
        quotas.removed()
        try await records.sync()
    }

    /// Adds a blob that is in the blob store to a repository.
    /// - Parameter reservation: holds the blob's bytes in the quotas.
    func link(
        _ blob: Blob, to name: RepositoryName, _ reservation: QuotaReservation
    ) async throws(RegistryError) {
        let keys = RepositoryKeys(name: name)
        let key = try keys.blob(blob.digest)
        let membership = BlobMembership(size: blob.size)
        var isNew = false
        // The repository has the blob even if a later step fails. The commit waits for the marker, by which a count
        // finds the repository.
        defer { if isNew { reservation.commit(blob.size) } else { reservation.release() } }
        do {
            try await records.update(key, as: BlobMembership.self, replacingDamaged: true) { found in
                isNew = found == nil
                return found?.value == membership ? .keep : .write(membership)
            }
        } catch {
            // A record that a newer Cistern wrote also means that the repository has the blob.
            guard case .unreadable = error else { throw error }
        }
        try await mark(keys)
        try await records.sync()
    }

    /// Whether a repository has a blob. A membership that can't be read counts too.
    func has(_ name: RepositoryName, _ digest: Digest) async throws(RegistryError) -> Bool {
        try await records.find(try RepositoryKeys(name: name).blob(digest), as: BlobMembership.self).isThere
    }
}
