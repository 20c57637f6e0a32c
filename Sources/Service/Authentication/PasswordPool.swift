import Glibc
import NIOPosix
import Synchronization

/// A few threads of low priority that check passwords, and a bounded queue before them: whoever floods the server with
/// wrong passwords takes no thread and little time from those who are already known.
final class PasswordPool: Sendable {
    private let threads: NIOThreadPool
    private let maximum: Int
    private let waiting = Mutex(0)

    /// - Parameters:
    ///   - threads: how many passwords are checked at once.
    ///   - maximum: how many may be checked or wait for it.
    init(threads: Int, maximum: Int) {
        self.threads = NIOThreadPool(numberOfThreads: threads)
        self.maximum = maximum
        self.threads.start()
    }

    deinit { threads.shutdownGracefully { _ in } }

    /// - Throws: `AuthenticationError.overloaded` if the queue is full.
    func run<Result: Sendable>(_ work: @escaping @Sendable () -> Result) async throws -> Result {
        let isFull = waiting.withLock { waiting in
            guard waiting < maximum else { return true }
            waiting += 1
            return false
        }
        guard !isFull else { throw AuthenticationError.overloaded }
        defer { waiting.withLock { $0 -= 1 } }
        return try await threads.runIfActive {
            // On Linux this is the calling thread's own priority.
            _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10)
            return work()
        }
    }
}
