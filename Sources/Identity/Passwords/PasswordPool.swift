import Glibc
import NIOPosix
import Synchronization

/// A few threads of low priority that check passwords, behind a bounded, fair queue. A flood of wrong passwords takes
/// little time from users who are remembered, and one address takes little from the others.
final class PasswordPool: Sendable {
    private struct Work: Sendable {
        let run: @Sendable () -> Void
        let refuse: @Sendable () -> Void
    }

    private struct State {
        var queue: PasswordQueue<Work>
        var active = 0
    }

    private let threads: NIOThreadPool
    /// Resumes callers. A caller may start a thread, which would inherit the low priority if a checking thread resumed
    /// it.
    private let answers = NIOThreadPool(numberOfThreads: 1)
    private let count: Int
    private let state: Mutex<State>

    /// - Parameters:
    ///   - threads: how many passwords are checked at once.
    ///   - maximum: how many passwords may be in checking or wait for it.
    ///   - maximumOfAddress: how many of those one address may have.
    init(threads: Int, maximum: Int, maximumOfAddress: Int) {
        count = threads
        self.threads = NIOThreadPool(numberOfThreads: threads)
        state = Mutex(State(queue: PasswordQueue(maximum: maximum, maximumOfAddress: maximumOfAddress)))
        self.threads.start()
        answers.start()
    }

    deinit {
        threads.shutdownGracefully { _ in }
        answers.shutdownGracefully { _ in }
    }

    /// Runs a check on one of the threads.
    /// - Parameter wasGood: whether the credentials were good before; those are checked first.
    /// - Throws: `AuthenticationError.overloaded` if the queue, or the address's share of it, is full.
    func run<Result: Sendable>(
        for address: ClientAddress, wasGood: Bool, _ work: @escaping @Sendable () -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            add(
                Work { [answers] in
                    let result = work()
                    answers.submit { _ in continuation.resume(returning: result) }
                } refuse: {
                    continuation.resume(throwing: AuthenticationError.overloaded)
                }, address, wasGood: wasGood)
        }
    }

    private func add(_ work: Work, _ address: ClientAddress, wasGood: Bool) {
        let (refused, mustStart) = state.withLock { state -> (Work?, Bool) in
            var refused: Work?
            switch state.queue.add(work, from: address, wasGood: wasGood) {
            case .taken: break
            case .displaced(let other): refused = other
            case .refused: return (work, false)
            }
            guard state.active < count else { return (refused, false) }
            state.active += 1
            return (refused, true)
        }
        refused?.refuse()
        if mustStart { threads.submit { _ in self.work() } }
    }

    /// Checks passwords until none waits.
    private func work() {
        // On Linux this sets the priority of the calling thread alone.
        _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10)
        while true {
            let next = state.withLock { state in
                let next = state.queue.next()
                if next == nil { state.active -= 1 }
                return next
            }
            guard let next else { return }
            next.work.run()
            state.withLock { $0.queue.finished(next.address) }
        }
    }
}
