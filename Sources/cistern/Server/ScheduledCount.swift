import Blobs
import Logging
import OperatorAPI
import Registry
import ServiceLifecycle

/// Counts what is used of the limits when the server starts, now and then, and when it has to be known anew.
struct ScheduledCount: Service {
    let counter: UsageCounter
    let logger: Logger

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while true {
                if counter.quotas.isCountDue(now: .now) { await count() }
                try await Task.sleep(for: .seconds(1))
            }
        }
    }

    private func count() async {
        do throws(RegistryError) { try await counter.count() } catch {
            switch error {
            case .counting, .cancelled: return
            default:
                logger.error("usage can't be counted: it is tried again", metadata: ["reason": "\(error)"])
                return
            }
        }
        counter.quotas.usage.log(to: logger)
    }
}
