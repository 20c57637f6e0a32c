public import Blobs
import OCI
public import ObjectStore
package import Records

/// Repositories that clients push to: blobs, manifests, tags and referrers (OCI distribution specification 1.1).
///
/// Content is kept once, by digest, in the blob store; a repository has small records of what it has. A blob or
/// manifest that a repository has no record of is not there for it, whoever else has it.
///
/// Records are written in the order in which they depend on one another and are durable when a call returns.
public struct Registry: Sendable {
    package let blobs: BlobStore
    package let records: RecordStore<RegistryError>
    let quotas: QuotaLedger
    package let now: @Sendable () -> Int64
    /// When this process began to change repositories.
    private let began: Lease

    /// - Parameters:
    ///   - quotas: what repositories may hold; without it, all that there is room for.
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

    /// A repository comes into being with the first thing that it has.
    package func mark(_ keys: RepositoryKeys) async throws(RegistryError) {
        try await records.update(try keys.marker(), as: CatalogMarker.self, replacingDamaged: true) { marker in
            marker == nil ? .write(CatalogMarker(changed: Lease(now()))) : .keep
        }
    }

    /// Says that a repository's manifests are about to change: to be called before one is added or removed.
    ///
    /// A marker is a lease: one that is younger than a quarter of the grace period need not be renewed, and while it is
    /// younger than the whole of it the collector takes nothing down of the repository, for somebody may yet rely on it.
    /// After that whoever changes something leaves another version of the marker. A marker of before this process began
    /// is always renewed: the grace period may have been shorter then, and a collection of that time may have taken down
    /// what the repository had.
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
