package import Glibc

/// State that threads share and wait on: a mutex with condition variables.
///
/// `wait` is for threads that may block. Tasks only use `withLock`; nobody may do I/O there, so it never takes long.
/// (Its code is inlinable, since generic code of another module is slow.)
package final class Monitor<State>: @unchecked Sendable {
    @usableFromInline let mutex: UnsafeMutablePointer<pthread_mutex_t>
    @usableFromInline let signals: UnsafeMutablePointer<pthread_cond_t>
    private let signalCount: Int
    @usableFromInline var state: State

    package init(_ state: sending State, signals signalCount: Int) {
        self.state = state
        self.signalCount = signalCount
        mutex = .allocate(capacity: 1)
        mutex.initialize(to: pthread_mutex_t())
        pthread_mutex_init(mutex, nil)
        signals = .allocate(capacity: signalCount)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        for index in 0..<signalCount {
            (signals + index).initialize(to: pthread_cond_t())
            pthread_cond_init(signals + index, &attributes)
        }
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        for index in 0..<signalCount { pthread_cond_destroy(signals + index) }
        signals.deallocate()
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    @inlinable package func withLock<Value, Failure>(
        _ body: (inout State) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&state)
    }

    package func wake(_ signal: Int) { pthread_cond_broadcast(signals + signal) }

    package func wakeOne(_ signal: Int) { pthread_cond_signal(signals + signal) }

    package enum Wait<Value> {
        case done(Value)
        /// Call the body again after the signal, and at this time of `SystemClock.monotonic()` at the latest; nil for
        /// no such time.
        case until(Int64?)
    }

    /// Calls the body until it is done: at once, after each signal and when its time has come.
    /// - Returns: the value that the body is done with.
    @inlinable package func wait<Value>(for signal: Int, _ body: (inout State) -> Wait<Value>) -> Value {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            switch body(&state) {
            case .done(let value):
                return value
            case .until(.none):
                pthread_cond_wait(signals + signal, mutex)
            case .until(.some(let time)):
                var deadline = timespec(tv_sec: Int(time / 1_000_000_000), tv_nsec: Int(time % 1_000_000_000))
                pthread_cond_timedwait(signals + signal, mutex, &deadline)
            }
        }
    }
}
