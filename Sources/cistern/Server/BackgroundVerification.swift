import Registry
import ServiceLifecycle

/// Does the verifications that operators ask for.
struct BackgroundVerification: Service {
    let verifications: VerificationRunner

    func run() async throws {
        await cancelWhenGracefulShutdown { await verifications.run() }
    }
}
