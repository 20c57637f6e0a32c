import Glibc

/// Runs tasks that go through a whole store (collections, counts, verifications) on threads of its own, where the store's
/// calls may block: they are then made in place, without a change of threads for each. Who serves clients goes first:
/// these threads have a lower priority.
///
/// It must live as long as tasks prefer it.
public final class BackgroundExecutor: TaskExecutor {
    /// As `nice` takes it. With it a collection takes about a fifth of two processors that are busy otherwise.
    private static let niceness: Int32 = 6

    private let pool: BlockingPool

    /// - Parameter threads: how many of its tasks may wait for the disk at the same time.
    public init(threads: Int) {
        pool = BlockingPool(name: "background", threads: threads, niceness: Self.niceness)
    }

    deinit { pool.stop() }

    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let executor = asUnownedTaskExecutor()
        pool.submit {
            pthread_setspecific(Self.mark, UnsafeRawPointer(bitPattern: 1))
            defer { pthread_setspecific(Self.mark, nil) }
            job.runSynchronously(on: executor)
        }
    }

    /// Whether the calling thread may wait for the disk.
    static var isCurrent: Bool { pthread_getspecific(mark) != nil }

    /// Set on threads of such executors while they run a task.
    private static let mark: pthread_key_t = {
        var key = pthread_key_t()
        pthread_key_create(&key, nil)
        return key
    }()
}
