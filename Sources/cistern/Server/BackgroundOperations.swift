import Operations
import ServiceLifecycle

/// Does the long work that is asked for.
struct BackgroundOperations: Service {
    let operations: OperationRunner

    func run() async throws {
        await withGracefulShutdownHandler {
            await operations.run()
        } onGracefulShutdown: {
            operations.stop()
        }
        // Work ends before it is this service's turn to, and a service that ends before its turn brings all others down.
        try? await gracefulShutdown()
    }
}

/// Cancels long work as soon as the server is asked to stop. Services are stopped one after the other, the last one first:
/// work ends while transfers that are under way still have their time.
struct OperationsEnd: Service {
    let operations: OperationRunner

    func run() async throws {
        try? await gracefulShutdown()
        operations.stop()
    }
}
