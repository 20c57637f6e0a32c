import Logging
import Registry
import ServiceLifecycle

/// Collects garbage now and then.
struct ScheduledCollection: Service {
    let collections: CollectionRunner
    /// nil: never.
    let interval: Duration?
    let logger: Logger

    func run() async throws {
        guard let interval else {
            try? await gracefulShutdown()
            return
        }
        try? await cancelWhenGracefulShutdown {
            while true {
                // Not in step with other replicas.
                try await Task.sleep(for: interval * Double.random(in: 0.9...1.1))
                await collect()
            }
        }
    }

    private func collect() async {
        do throws(RegistryError) {
            let report = try await collections.run(dryRun: false)
            logger.notice(
                "collected garbage",
                metadata: [
                    "retired": "\(report.retired)", "bytes": "\(report.retiredBytes)", "blobs": "\(report.blobs)",
                ])
        } catch {
            switch error {
            case .collecting, .cancelled: break
            default:
                logger.error("the collection failed; the next one is tried in time", metadata: ["reason": "\(error)"])
            }
        }
    }
}
