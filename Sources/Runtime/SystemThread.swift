import CLinux
import Glibc

/// A thread of its own, for calls that block.
package enum SystemThread {
    private final class Body {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// Starts a thread that ends with its body. Returns false if the system gives no more threads.
    package static func start(named name: String, _ body: @escaping @Sendable () -> Void) -> Bool {
        let argument = Unmanaged.passRetained(Body(body))
        var thread = pthread_t()
        let failure = pthread_create(
            &thread, nil,
            { argument in
                if let argument { Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run() }
                return nil
            }, argument.toOpaque())
        guard failure == 0 else {
            argument.release()
            return false
        }
        clinux_name_thread(thread, name)
        pthread_detach(thread)
        return true
    }
}

/// Runs tasks that go through a whole store (collections, counts) on threads of its own, where the store's calls may
/// block: they are made in place, without a change of threads for each. Clients' requests go first: where there are
/// not enough processors, these threads rest most of the time (`Throttle`).
///
/// The executor must live as long as tasks prefer it.
public final class BackgroundExecutor: TaskExecutor {
    private let pool: BlockingPool

    /// - Parameter threads: how many of its tasks may wait for the disk at the same time.
    public init(threads: Int) {
        pool = BlockingPool(name: "background", threads: threads)
    }

    deinit { pool.stop() }

    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let executor = asUnownedTaskExecutor()
        pool.submit {
            if Throttle.current == nil { Throttle.begin() }
            job.runSynchronously(on: executor)
            Throttle.current?.rest()
        }
    }
}
