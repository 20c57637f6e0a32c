import Registry
import ServiceLifecycle

/// Throws away uploads that nobody goes on with.
struct UploadExpiry: Service {
    let uploads: UploadSessions

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while true {
                try await Task.sleep(for: .seconds(60))
                await uploads.expire()
            }
        }
    }
}
