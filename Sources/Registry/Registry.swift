public import Blobs
import OCI
public import ObjectStore
package import Records

/// Repositories that clients push to: blobs, manifests, tags and referrers (OCI distribution specification 1.1).
///
/// Content is kept once, by digest, in the blob store; a repository has small records of what it has. A blob or
/// manifest without such a record is unknown to the repository, even if other repositories have it.
///
/// Records are written in the order in which they depend on one another and are durable when a call returns.
public struct Registry: Sendable {
    package let blobs: BlobStore
    package let records: RecordStore<RegistryError>
    let quotas: QuotaLedger
    package let now: @Sendable () -> Int64
    /// When this process started, to tell older catalog markers from its own.
    private let began: Lease

    /// - Parameters:
    ///   - quotas: limits what repositories hold; by default nothing does.
    ///   - now: nanoseconds since 1970.
    public init(
        store: any ObjectStore, blobs: BlobStore, quotas: QuotaLedger = QuotaLedger(),
        now: @escaping @Sendable () -> Int64
    ) {
        self.quotas = quotas
        self.blobs = blobs
        self.now = now
        began = Lease(now())
        records = RecordStore(store, unreadable: blobs.unreadable)
    }

    /// Writes a repository's catalog marker if there is none: a repository exists from its first content on.
    package func mark(_ keys: RepositoryKeys) async throws(RegistryError) {
        try await records.update(try keys.marker(), as: CatalogMarker.self, replacingDamaged: true) { marker in
            marker == nil ? .write(CatalogMarker(changed: Lease(now()))) : .keep
        }
    }

    /// Renews a repository's catalog marker. Call this before a manifest is added or removed.
    ///
    ///
    /// A marker is a lease: one that is younger than a quarter of the grace period need not be renewed, and while it is
    /// younger than the whole period the collector retires nothing of the repository, since a client may still rely on
    /// it. Later any change writes another version of the marker, which a collector notices. A marker from before this
    /// process started is always renewed: the grace period may have been shorter then, and a collection may have
    /// retired content of the repository.
    package func renewMarker(_ keys: RepositoryKeys) async throws(RegistryError) {
        try await records.update(try keys.marker(), as: CatalogMarker.self, replacingDamaged: true) { marker in
            guard let changed = marker?.value.changed else { return .write(CatalogMarker(changed: Lease(now()))) }
            guard changed < began || changed.needsRenewal(at: now(), grace: blobs.grace) else { return .keep }
            return .write(CatalogMarker(changed: changed.renewed(at: now())))
        }
    }
}

extension QuotaReservation {
    func cover(for total: Int64) async throws(RegistryError) {
        do { try await cover(total) } catch { throw .blob(error) }
    }
}
