public import Blobs
public import OCI

extension Registry {
    /// A blob of a repository, whose lease is renewed: who asks is likely to rely on it next.
    /// - Throws: `.unknownBlob`.
    public func blob(_ name: RepositoryName, _ digest: Digest) async throws(RegistryError) -> Blob {
        guard try await has(name, digest) else { throw .unknownBlob(name, digest) }
        let blob: Blob?
        do { blob = try await blobs.renewIfOld(digest) } catch { throw .blob(error) }
        guard let blob else { throw .unknownBlob(name, digest) }
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

    /// Gives a repository a blob that another one has ("Mounting a blob from another repository").
    /// - Parameter source: asked before: whether its caller may read it is not known here.
    /// - Returns: nil if the source does not have it.
    public func mount(
        _ digest: Digest, from source: RepositoryName, to name: RepositoryName
    ) async throws(RegistryError) -> Blob? {
        guard try await has(source, digest) else { return nil }
        let blob: Blob?
        do { blob = try await blobs.renew(digest) } catch { throw .blob(error) }
        guard let blob else { return nil }
        try await link(blob, to: name)
        return blob
    }

    /// Takes a blob from a repository. Its bytes stay for as long as others have it.
    /// - Throws: `.unknownBlob`.
    public func deleteBlob(_ name: RepositoryName, _ digest: Digest) async throws(RegistryError) {
        let key = try RepositoryKeys(name: name).blob(digest)
        guard try await facts.readOrVersion(key, as: BlobMembership.self) != nil else {
            throw .unknownBlob(name, digest)
        }
        try await facts.remove(key)
        try await facts.sync()
    }

    /// Makes a blob, which is in the blob store, one of a repository.
    func link(_ blob: Blob, to name: RepositoryName) async throws(RegistryError) {
        let keys = RepositoryKeys(name: name)
        try await facts.write(BlobMembership(size: blob.size), at: try keys.blob(blob.digest))
        try await mark(keys)
        try await facts.sync()
    }

    func has(_ name: RepositoryName, _ digest: Digest) async throws(RegistryError) -> Bool {
        try await facts.read(try RepositoryKeys(name: name).blob(digest), as: BlobMembership.self) != nil
    }
}
