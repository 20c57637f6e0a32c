import Blobs
import Logging
import Operations
import OperatorAPI
import Registry
import ServiceLifecycle

/// Counts what is used of the limits when the server starts, now and then, and when it has to be known anew.
struct ScheduledCount: Service {
    let work: StoreOperations
    let logger: Logger

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while true {
                if work.usage.quotas.isCountDue(now: .now) { await count() }
                try await Task.sleep(for: .seconds(1))
            }
        }
    }

    private func count() async {
        do throws(OperationError) { try await work.count(by: nil) } catch {
            switch error {
            case .running, .stopping: return
            default: logger.error("usage can't be counted: it is tried again", metadata: ["reason": "\(error)"])
            }
        }
    }
}
