public import Blobs
public import OCI
import ObjectStore
import Records

extension Registry {
    /// A blob of a repository, whose lease is renewed: who asks is likely to rely on it next.
    /// - Throws: `.unknownBlob`.
    public func blob(_ name: RepositoryName, _ digest: Digest) async throws(RegistryError) -> Blob {
        guard try await has(name, digest) else { throw .unknownBlob(name, digest) }
        guard let blob = try await RegistryError.ofBlobs(await blobs.renewIfOld(digest)) else {
            throw .unknownBlob(name, digest)
        }
        return blob
    }

    /// Opens a blob of a repository. Close its reader when done.
    /// - Throws: `.unknownBlob`.
    public func openBlob(_ name: RepositoryName, _ digest: Digest) async throws(RegistryError) -> OpenBlob {
        guard try await has(name, digest) else { throw .unknownBlob(name, digest) }
        do { return try await blobs.open(digest) } catch {
            if case .missing = error { throw .unknownBlob(name, digest) }
            throw .blob(error)
        }
    }

    /// A URL by which a blob of a repository can be read from the store itself.
    /// - Returns: nil if the store gives none.
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

    /// Gives a repository a blob that another one has ("Mounting a blob from another repository").
    /// - Parameter source: asked before: whether its caller may read it is not known here.
    /// - Returns: nil if the source does not have it.
    public func mount(
        _ digest: Digest, from source: RepositoryName, to name: RepositoryName
    ) async throws(RegistryError) -> Blob? {
        guard try await has(source, digest) else { return nil }
        guard let blob = try await RegistryError.ofBlobs(await blobs.renew(digest)) else { return nil }
        let reservation = quotas.reservation(for: name)
        if quotas.isActive, try await !has(name, digest) { try await reservation.cover(for: blob.size) }
        try await link(blob, to: name, reservation)
        return blob
    }

    /// Takes a blob from a repository. Its bytes stay for as long as others have it.
    /// - Throws: `.unknownBlob`.
    public func deleteBlob(_ name: RepositoryName, _ digest: Digest) async throws(RegistryError) {
        let key = try RepositoryKeys(name: name).blob(digest)
        guard try await records.isThere(key) else { throw .unknownBlob(name, digest) }
        try await records.remove(key)
        quotas.removed()
        try await records.sync()
    }

    /// Makes a blob, which is in the blob store, one of a repository.
    /// - Parameter reservation: holds its bytes.
    func link(
        _ blob: Blob, to name: RepositoryName, _ reservation: QuotaReservation
    ) async throws(RegistryError) {
        let keys = RepositoryKeys(name: name)
        let key = try keys.blob(blob.digest)
        let membership = BlobMembership(size: blob.size)
        var isNew = false
        // The repository has the blob even if a later step fails. The commit comes last, when a count can find the repository.
        defer { if isNew { reservation.commit(blob.size) } else { reservation.release() } }
        do {
            try await records.update(key, as: BlobMembership.self, replacingDamaged: true) { found in
                isNew = found == nil
                return found?.value == membership ? .keep : .write(membership)
            }
        } catch {
            // A record of a newer Cistern says just that the repository has the blob.
            guard case .unreadable = error else { throw error }
        }
        try await mark(keys)
        try await records.sync()
    }

    /// Whether there is a membership: what can't be read says as much as any other.
    func has(_ name: RepositoryName, _ digest: Digest) async throws(RegistryError) -> Bool {
        try await records.find(try RepositoryKeys(name: name).blob(digest), as: BlobMembership.self).isThere
    }
}
