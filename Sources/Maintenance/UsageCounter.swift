package import Blobs
package import ObjectStore

/// Counts what is used of the limits: what repositories hold, and what the store does.
package struct UsageCounter: Sendable {
    package let quotas: QuotaLedger
    private let owners: ContentOwners
    private let reading: any ObjectStore
    private let now: @Sendable () -> Int64

    /// - Parameters:
    ///   - reading: the store itself: a count must not push what is in use out of a cache.
    ///   - now: nanoseconds since 1970.
    package init(
        quotas: QuotaLedger, owners: ContentOwners, reading: any ObjectStore, now: @escaping @Sendable () -> Int64
    ) {
        self.quotas = quotas
        self.owners = owners
        self.reading = reading
        self.now = now
    }

    /// Counts, while everything else goes on. Its memory does not grow with what there is beyond a few bytes for each
    /// blob of the largest repository. What was known before stays if it fails.
    /// - Parameter progress: told how many repositories were counted so far.
    /// - Returns: false if a count runs already.
    @discardableResult
    package func count(progress: @escaping @Sendable (_ repositories: Int) -> Void = { _ in }) async throws -> Bool {
        try await quotas.count(now: now, progress: progress) { count in
            for owner in owners.all { try await owner.usage(count, in: reading) }
            try await BlobStore.countUsage(in: reading, count)
        }
    }
}
