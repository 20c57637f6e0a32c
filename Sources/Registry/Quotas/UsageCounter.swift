public import Blobs
public import ObjectStore

/// Counts what is used of the limits: what repositories hold, and what the store does.
public struct UsageCounter: Sendable {
    public let quotas: QuotaLedger
    private let registry: Registry
    private let reading: any ObjectStore
    private let others: @Sendable (QuotaCount) async throws -> Void
    private let now: @Sendable () -> Int64
    private let executor: (any TaskExecutor)?

    /// - Parameters:
    ///   - reading: the store itself: a count must not push what is in use out of a cache.
    ///   - others: tells what repositories hold besides what was pushed to them.
    ///   - now: nanoseconds since 1970.
    ///   - executor: where counts run.
    public init(
        quotas: QuotaLedger, registry: Registry, reading: any ObjectStore,
        others: @escaping @Sendable (QuotaCount) async throws -> Void = { _ in },
        now: @escaping @Sendable () -> Int64, executor: (any TaskExecutor)? = nil
    ) {
        self.executor = executor
        self.quotas = quotas
        self.registry = registry
        self.reading = reading
        self.others = others
        self.now = now
    }

    /// Counts, while everything else goes on. Its memory does not grow with what there is beyond a few bytes for each
    /// blob of the largest repository.
    /// - Throws: `.counting` if a count runs already. What was known before stays if it fails.
    public func count() async throws(RegistryError) {
        let isMine = try await quotas.count(now: now) { (count) throws(RegistryError) in
            try await withTaskExecutorPreference(executor) { () throws(RegistryError) in try await fill(count) }
        }
        guard isMine else { throw .counting }
    }

    private func fill(_ count: QuotaCount) async throws(RegistryError) {
        try await registry.countUsage(in: reading, count)
        do { try await others(count) } catch { throw error as? RegistryError ?? .input(error) }
        do throws(BlobError) { try await BlobStore.countUsage(in: reading, count) } catch { throw .blob(error) }
    }
}
