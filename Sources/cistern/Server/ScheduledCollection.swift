import Logging
import Operations
import OperatorAPI
import ServiceLifecycle

/// Collects garbage now and then.
struct ScheduledCollection: Service {
    let work: StoreOperations
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
                do throws(OperationError) { try await work.collect(dryRun: false, by: nil) } catch {
                    switch error {
                    case .running, .stopping: break
                    default:
                        logger.error(
                            "garbage can't be collected; it is tried again in time", metadata: ["reason": "\(error)"])
                    }
                }
            }
        }
    }
}
