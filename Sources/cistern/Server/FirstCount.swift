import Droplets
import Images
import Logging
import Rootfs
import ServiceLifecycle

/// Counts the droplets once after the start, so that nobody who asks how many there are has to wait for it.
struct FirstCount: Service {
    let droplets: DropletCatalog
    /// Where it reads all records.
    let executor: any TaskExecutor
    let logger: Logger

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            do throws(ImageError) {
                try await withTaskExecutorPreference(executor) { () throws(ImageError) in
                    _ = try await droplets.counts()
                }
            } catch {
                // Who asks counts anew.
                if case .cancelled = error { return }
                logger.error("droplets can't be counted", metadata: ["reason": "\(error)"])
            }
            try await gracefulShutdown()
        }
    }
}
