import Blobs
package import Droplets
package import Logging
import Operations
package import Registry
import Rootfs
import ServiceLifecycle

/// Maintains the store at regular intervals: collects garbage, counts what is used of the limits, and throws away
/// uploads that have been idle for too long.
package struct Schedules: Service {
    private let work: StoreMaintenance
    private let uploads: UploadSessions
    private let droplets: DropletCatalog
    private let collectionInterval: Duration?
    private let executor: (any TaskExecutor)?
    private let logger: Logger

    /// - Parameters:
    ///   - collectionInterval: the pause between two collections; nil: no collection is scheduled.
    ///   - executor: runs the reading of all droplets' records after the start.
    package init(
        work: StoreMaintenance, uploads: UploadSessions, droplets: DropletCatalog, collectionInterval: Duration?,
        executor: (any TaskExecutor)?, logger: Logger
    ) {
        self.work = work
        self.uploads = uploads
        self.droplets = droplets
        self.collectionInterval = collectionInterval
        self.executor = executor
        self.logger = logger
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await countDroplets() }
                group.addTask {
                    await every(.seconds(1)) {
                        guard work.quotas.isCountDue(now: .now) else { return }
                        await begin("usage can't be counted") { () throws(OperationError) in
                            try await work.count(by: nil)
                        }
                    }
                }
                group.addTask { await every(.seconds(60)) { await uploads.expire() } }
                if let collectionInterval {
                    group.addTask {
                        // Each process picks a random interval, so that replicas don't collect at the same time.
                        await every(collectionInterval * Double.random(in: 0.9...1.1), isLater: true) {
                            await begin("garbage can't be collected") { () throws(OperationError) in
                                try await work.collect(dryRun: false, by: nil)
                            }
                        }
                    }
                }
            }
        }
    }

    /// Calls `body` regularly, until the task is cancelled.
    /// - Parameter isLater: whether the first call comes only after a pause.
    private func every(_ pause: Duration, isLater: Bool = false, _ body: () async -> Void) async {
        if !isLater { await body() }
        while (try? await Task.sleep(for: pause)) != nil { await body() }
    }

    private func begin(
        _ complaint: String, _ body: () async throws(OperationError) -> OperationRecord
    ) async {
        do throws(OperationError) { _ = try await body() } catch {
            switch error {
            case .running, .stopping: return
            default: logger.error("\(complaint): it is tried again", metadata: ["reason": "\(error)"])
            }
        }
    }

    /// Counts the droplets after the start, so that the first request for the counts does not have to wait for it.
    private func countDroplets() async {
        do throws(ImageError) {
            try await withTaskExecutorPreference(executor) { () throws(ImageError) in
                _ = try await droplets.counts()
            }
        } catch {
            // The next caller of `counts()` reads all records again, so nothing is lost.
            if case .cancelled = error { return }
            logger.error("droplets can't be counted", metadata: ["reason": "\(error)"])
        }
    }
}
