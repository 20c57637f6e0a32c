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
