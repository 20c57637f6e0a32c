public import OCI
import Synchronization

/// Runs collections, one at a time in this process, and remembers how they went.
public final class CollectionRunner: Sendable {
    public typealias Roots = AsyncThrowingStream<[Digest], any Error>

    /// How collecting goes.
    public struct Status: Hashable, Sendable {
        /// Of the one that runs; nil if none does.
        public fileprivate(set) var running: CollectionReport?
        /// Of the last one that came to its end, dry runs excepted.
        public fileprivate(set) var last: CollectionReport?
        /// When that was, in nanoseconds since 1970.
        public fileprivate(set) var lastEnded: Int64?
    }

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
    private let now: @Sendable () -> Int64
    private let executor: (any TaskExecutor)?
    private let state = Mutex(Status())

    /// - Parameters:
    ///   - roots: what must stay besides what repositories have; asked anew for each collection.
    ///   - retire: takes out what the retention policies no longer want, before each collection.
    ///   - now: nanoseconds since 1970.
    ///   - executor: where collections run.
    public init(
        collector: GarbageCollector, roots: @escaping @Sendable () -> Roots,
        retire: @escaping @Sendable (_ dryRun: Bool) async throws -> Retired, now: @escaping @Sendable () -> Int64,
        executor: (any TaskExecutor)? = nil
    ) {
        self.executor = executor
        self.collector = collector
        self.retire = retire
        self.roots = roots
        self.now = now
    }

    public var status: Status { state.withLock { $0 } }

    /// Collects.
    /// - Throws: `.collecting` if a collection runs already.
    public func run(dryRun: Bool) async throws(RegistryError) -> CollectionReport {
        let isFree = state.withLock { state in
            guard state.running == nil else { return false }
            state.running = CollectionReport()
            return true
        }
        guard isFree else { throw .collecting }
        defer { state.withLock { $0.running = nil } }
        let retired: Retired
        do { retired = try await retire(dryRun) } catch { throw error as? RegistryError ?? .input(error) }
        var report = try await withTaskExecutorPreference(executor) { () throws(RegistryError) in
            try await collector.collect(roots: roots(), dryRun: dryRun) { progress in
                state.withLock { $0.running = progress }
            }
        }
        report.retention = retired
        if !dryRun {
            let now = now()
            state.withLock { state in
                state.last = report
                state.lastEnded = now
            }
        }
        return report
    }
}
