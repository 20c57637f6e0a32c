public import Blobs
import OCI
public import ObjectStore

/// Repositories that clients push to: blobs, manifests, tags and referrers (OCI distribution specification 1.1).
///
/// Content is kept once, by digest, in the blob store; a repository has small records of what it has. A blob or
/// manifest that a repository has no record of is not there for it, whoever else has it.
///
/// Facts are written in the order in which they depend on one another and are durable when a call returns.
public struct Registry: Sendable {
    let blobs: BlobStore
    let facts: Facts
    let quotas: QuotaLedger
    let now: @Sendable () -> Int64
    /// When this process began to change repositories.
    private let began: Int64

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
        began = now()
        facts = Facts(store: store)
    }

    /// How often a conditional change is tried before it is given up.
    static let maximumAttempts = 16

    /// A repository comes into being with the first thing that it has.
    func mark(_ keys: RepositoryKeys) async throws(RegistryError) {
        let key = try keys.marker()
        guard try await facts.read(key, as: CatalogMarker.self) == nil else { return }
        _ = try await facts.write(CatalogMarker(changed: now()), at: key, if: .absent)
    }

    /// Says that a repository's manifests are about to change: to be called before one is added or removed.
    ///
    /// A marker is a lease, as blobs have them: one that is younger than a quarter of the grace period need not be
    /// renewed, and while it is younger than the whole of it the collector takes nothing down of the repository, for
    /// somebody may yet rely on it. After that whoever changes something leaves another version of the marker. A marker
    /// of before this process began is always renewed: the grace period may have been shorter then, and a collection of
    /// that time may have taken down what the repository had.
    func renewMarker(_ keys: RepositoryKeys) async throws(RegistryError) {
        let key = try keys.marker()
        for _ in 0..<Self.maximumAttempts {
            var condition = PutCondition.absent
            var changed = now()
            if let (marker, version) = try await facts.readOrVersion(key, as: CatalogMarker.self) {
                if let marker {
                    if marker.changed >= began, changed - marker.changed < blobs.grace / 4 { return }
                    changed = max(changed, marker.changed)
                }
                condition = .version(version)
            }
            if try await facts.write(CatalogMarker(changed: changed), at: key, if: condition) { return }
        }
        throw .contended
    }
}
