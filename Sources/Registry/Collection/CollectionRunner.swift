public import OCI

/// Collects garbage: what the retention policies no longer want is taken out first.
public struct CollectionRunner: Sendable {
    public typealias Roots = AsyncThrowingStream<[Digest], any Error>

    /// What was taken out of repositories and catalogs before content was collected.
    public struct Retired: Hashable, Sendable {
        public var droplets = 0
        public var rootfsVersions = 0
        public var manifests = 0
        /// Why droplets and rootfs versions were left alone, if they were.
        public var withheld: String?

        public init() {}
    }

    private let collector: GarbageCollector
    private let retire: @Sendable (_ dryRun: Bool) async throws -> Retired
    private let roots: @Sendable () -> Roots
    private let executor: (any TaskExecutor)?

    /// - Parameters:
    ///   - roots: what must stay besides what repositories have; asked anew for each collection.
    ///   - retire: takes out what the retention policies no longer want, before each collection.
    ///   - executor: where collections run.
    public init(
        collector: GarbageCollector, roots: @escaping @Sendable () -> Roots,
        retire: @escaping @Sendable (_ dryRun: Bool) async throws -> Retired, executor: (any TaskExecutor)? = nil
    ) {
        self.executor = executor
        self.collector = collector
        self.retire = retire
        self.roots = roots
    }

    /// Collects. The caller sees to it that one collection runs at a time: two at once do no harm, and no good.
    /// - Parameter progress: told how far it is, now and then.
    public func run(
        dryRun: Bool, progress: @Sendable (CollectionReport) -> Void = { _ in }
    ) async throws(RegistryError) -> CollectionReport {
        let retired: Retired
        do { retired = try await retire(dryRun) } catch { throw error as? RegistryError ?? .input(error) }
        var report = try await withTaskExecutorPreference(executor) { () throws(RegistryError) in
            try await collector.collect(roots: roots(), dryRun: dryRun, progress: progress)
        }
        report.retention = retired
        return report
    }
}
