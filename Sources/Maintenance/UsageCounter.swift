package import Blobs
package import ObjectStore

/// Counts what is used of the limits: what repositories hold, and what the store holds.
package struct UsageCounter: Sendable {
    package let quotas: QuotaLedger
    private let owners: ContentOwners
    private let reading: any ObjectStore
    private let now: @Sendable () -> Int64

    /// - Parameters:
    ///   - reading: the store below the cache, since a count would evict what is in use.
    ///   - now: nanoseconds since 1970.
    package init(
        quotas: QuotaLedger, owners: ContentOwners, reading: any ObjectStore, now: @escaping @Sendable () -> Int64
    ) {
        self.quotas = quotas
        self.owners = owners
        self.reading = reading
        self.now = now
    }

    /// Runs a count, while requests go on. It needs a few bytes of memory for each blob of the largest repository. If
    /// it fails, the previous totals stay.
    /// - Parameter progress: told how many repositories were counted so far.
    /// - Returns: false if a count is running already.
    @discardableResult
    package func count(progress: @escaping @Sendable (_ repositories: Int) -> Void = { _ in }) async throws -> Bool {
        try await quotas.count(now: now, progress: progress) { count in
            for owner in owners.all { try await owner.usage(count, in: reading) }
            try await BlobStore.countUsage(in: reading, count)
        }
    }
}
