import Glibc
import NIOCore
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
    private let patience: TimeAmount
    private let now: @Sendable () -> NIODeadline
    private let state: Mutex<State>

    /// - Parameters:
    ///   - threads: how many passwords are checked at once.
    ///   - maximum: how many passwords may be in checking or wait for it.
    ///   - maximumOfAddress: how many of those one address may have.
    ///   - patience: how long one may wait. It is turned away by the next thread that is done, so one check later at
    ///     most.
    init(
        threads: Int, maximum: Int, maximumOfAddress: Int, patience: TimeAmount,
        now: @escaping @Sendable () -> NIODeadline
    ) {
        count = threads
        self.patience = patience
        self.now = now
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
    /// - Parameters:
    ///   - wasGood: whether the credentials were good before; those are checked first.
    ///   - extraCost: by how much the cost is higher than the usual one.
    /// - Throws: `AuthenticationError.overloaded` if the queue, or the address's share of it, is full, or the password
    ///   waited for too long.
    func run<Result: Sendable>(
        for address: ClientAddress, wasGood: Bool, extraCost: Int = 0, _ work: @escaping @Sendable () -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            add(
                Work { [answers] in
                    let result = work()
                    answers.submit { _ in continuation.resume(returning: result) }
                } refuse: {
                    continuation.resume(throwing: AuthenticationError.overloaded)
                }, address, wasGood: wasGood, extraCost: extraCost)
        }
    }

    private func add(_ work: Work, _ address: ClientAddress, wasGood: Bool, extraCost: Int) {
        let end = now() + patience
        let (refused, mustStart) = state.withLock { state -> (Work?, Bool) in
            var refused: Work?
            switch state.queue.add(work, from: address, wasGood: wasGood, extraCost: extraCost, until: end) {
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
            let now = now()
            let (late, next) = state.withLock { state in
                let late = state.queue.removeLate(now)
                let next = state.queue.next()
                if next == nil { state.active -= 1 }
                return (late, next)
            }
            for work in late { answers.submit { _ in work.refuse() } }
            guard let next else { return }
            next.work.run()
            state.withLock { $0.queue.finished(next.address) }
        }
    }
}
