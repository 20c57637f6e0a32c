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

/// What marks a thread as one that may block.
@usableFromInline final class BlockingThread {
    /// Makes the thread give way to others; nil if it need not.
    let throttle: Throttle?

    private init(_ throttle: Throttle?) { self.throttle = throttle }

    /// nil if the calling thread may not block.
    @usableFromInline static var current: BlockingThread? {
        pthread_getspecific(key).map { Unmanaged<BlockingThread>.fromOpaque($0).takeUnretainedValue() }
    }

    /// Rests if the thread has to give way.
    @usableFromInline func rest() { throttle?.rest() }

    /// Marks the calling thread until it ends.
    static func begin(givesWay: Bool) {
        pthread_setspecific(key, Unmanaged.passRetained(BlockingThread(givesWay ? Throttle() : nil)).toOpaque())
    }

    private static let key: pthread_key_t = {
        var key = pthread_key_t()
        pthread_key_create(&key) { thread in
            if let thread { Unmanaged<BlockingThread>.fromOpaque(thread).release() }
        }
        return key
    }()
}

/// Runs tasks that make many calls of the store, one after the other, on threads of its own where these may block: they
/// are made in place, without a change of threads for each.
///
/// The executor must live as long as tasks prefer it.
public final class BlockingExecutor: TaskExecutor {
    private let pool: BlockingPool
    private let givesWay: Bool

    /// - Parameters:
    ///   - name: the threads' name, at most 15 bytes.
    ///   - threads: how many of its tasks may wait for the disk at the same time.
    ///   - givesWay: whether clients' requests go first: where there are not enough processors, these threads rest most
    ///     of the time (`Throttle`).
    public init(name: String, threads: Int, givesWay: Bool) {
        pool = BlockingPool(name: name, threads: threads)
        self.givesWay = givesWay
    }

    deinit { pool.stop() }

    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let executor = asUnownedTaskExecutor()
        let givesWay = givesWay
        pool.submit {
            if BlockingThread.current == nil { BlockingThread.begin(givesWay: givesWay) }
            job.runSynchronously(on: executor)
            BlockingThread.current?.rest()
        }
    }
}
