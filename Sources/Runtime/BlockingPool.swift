/// A few threads for calls that may block on the disk, so that the threads that run Swift tasks never do.
///
/// Threads are started when they are first needed. A waiting task has at most one piece of work in the queue. (`run` is
/// inlinable, since generic code of another module is slow.)
package final class BlockingPool: Sendable {
    private struct State {
        var work: [@Sendable () -> Void] = []
        var next = 0
        var threads = 0
        var idle = 0
        var isStopped = false

        mutating func take() -> (@Sendable () -> Void)? {
            guard next < work.count else { return nil }
            let taken = work[next]
            next += 1
            if next == work.count {
                work.removeAll(keepingCapacity: true)
                next = 0
            } else if next == 1024 {
                work.removeFirst(next)
                next = 0
            }
            return taken
        }
    }

    private let name: String
    private let maximumThreads: Int
    private let monitor = Monitor(State(), signals: 1)

    /// - Parameter name: the threads' name, at most 15 bytes.
    package init(name: String, threads: Int) {
        self.name = name
        self.maximumThreads = threads
    }

    /// Runs work on one of the pool's threads and returns its result. A `BlockingThread` does the work in place.
    @inlinable package func run<Value: Sendable, Failure: Error>(
        _ work: @escaping @Sendable () throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        if let thread = BlockingThread.current {
            defer { thread.rest() }
            return try work()
        }
        let result = await withCheckedContinuation {
            (continuation: CheckedContinuation<Result<Value, Failure>, Never>) in
            submit {
                do throws(Failure) {
                    continuation.resume(returning: .success(try work()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }

    /// Queues work for one of the threads and does not wait for it.
    package func submit(_ work: @escaping @Sendable () -> Void) {
        enum Next { case queued, needsThread, runHere }
        let next: Next = monitor.withLock { state in
            if state.isStopped { return .runHere }
            state.work.append(work)
            if state.idle >= state.work.count - state.next || state.threads == maximumThreads { return .queued }
            state.threads += 1
            return .needsThread
        }
        switch next {
        case .queued:
            monitor.wakeOne(0)
        case .runHere:
            work()
        case .needsThread:
            if SystemThread.start(named: name, { [self] in serve() }) { return }
            let isAlone = monitor.withLock { state in
                state.threads -= 1
                return state.threads == 0
            }
            // The system gives no thread, so the caller does the work: slow, but done.
            if isAlone, let work = monitor.withLock({ $0.take() }) { work() }
        }
    }

    private func serve() {
        while true {
            var isIdle = false
            let work: (@Sendable () -> Void)? = monitor.wait(for: 0) { state in
                let work = state.take()
                if work == nil, !state.isStopped {
                    if !isIdle { state.idle += 1 }
                    isIdle = true
                    return .until(nil)
                }
                if isIdle { state.idle -= 1 }
                if work == nil { state.threads -= 1 }
                return .done(work)
            }
            guard let work else { return }
            work()
        }
    }

    /// Ends the threads once the queue is empty. Work that comes later runs in its caller's thread.
    package func stop() {
        monitor.withLock { $0.isStopped = true }
        monitor.wake(0)
    }
}
