import Glibc
import NIOPosix
import Synchronization

/// A few threads of low priority that check passwords, and a bounded, fair queue before them: whoever floods the server
/// with wrong passwords takes no thread and little time from those who are already known, and one address takes little
/// from the others.
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
    /// Gives answers. Whoever goes on with one may start a thread, which would keep the low priority for good.
    private let answers = NIOThreadPool(numberOfThreads: 1)
    private let count: Int
    private let state: Mutex<State>

    /// - Parameters:
    ///   - threads: how many passwords are checked at once.
    ///   - maximum: how many may be checked or wait for it.
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

    /// - Parameter wasGood: the credentials were good before; they are checked first.
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

    /// Checks until nothing waits.
    private func work() {
        // On Linux this is the calling thread's own priority.
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
