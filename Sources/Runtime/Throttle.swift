import CLinux
import Glibc

/// Makes background threads give way to others where processors are scarce.
///
/// After some milliseconds of work a thread checks whether it had to wait for a processor. If so, it rests several
/// times as long as it worked. (A lower priority would do less: threads that such a thread happens to start would
/// inherit it, and where a container's processor time is limited it saves none.)
final class Throttle {
    /// After how much work the thread checks, in nanoseconds of processor time.
    private static let quantum: Int64 = 4_000_000
    /// How many times as long as the work before it a rest is. With eight, a collection's two threads take a tenth of
    /// two processors.
    private static let factor: Int64 = 8
    /// A thread that waited for a processor for 1/20 of its working time or more competes with others.
    private static let patience: Int64 = 20
    /// The longest rest, in nanoseconds, since a caller may wait for the thread that rests.
    static let longestRest: Int64 = 100_000_000

    /// The thread's `schedstat` (proc_pid_schedstat(5)): nanoseconds on a processor, and waiting for one. -1 if the
    /// system has none.
    private let statistics: Int32
    private var worked: Int64 = 0
    private var waited: Int64 = 0

    init() {
        statistics = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC)
        (worked, waited) = (SystemClock.threadTime(), waitingTime() ?? 0)
    }

    deinit { if statistics >= 0 { close(statistics) } }

    /// Rests if the thread has worked enough and had to wait. Call it on the thread whose throttle this is.
    func rest() {
        let work = SystemClock.threadTime() - worked
        guard work >= Self.quantum else { return }
        let waiting = waitingTime()
        let duration = Self.rest(after: work, waiting: waiting.map { $0 - waited })
        if duration > 0 {
            var time = timespec(tv_sec: Int(duration / 1_000_000_000), tv_nsec: Int(duration % 1_000_000_000))
            nanosleep(&time, nil)
        }
        (worked, waited) = (SystemClock.threadTime(), waiting ?? 0)
    }

    /// How long to rest, in nanoseconds.
    /// - Parameter waiting: how long the thread waited for a processor; nil if that is not known, which counts as too
    ///   long.
    static func rest(after work: Int64, waiting: Int64?) -> Int64 {
        if let waiting, waiting < work / patience { return 0 }
        return min(min(work, longestRest) * factor, longestRest)
    }

    private func waitingTime() -> Int64? {
        guard statistics >= 0 else { return nil }
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 64) { buffer in
            let count = pread(statistics, buffer.baseAddress, buffer.count, 0)
            guard count > 0 else { return nil }
            let fields = buffer[..<count].split(separator: UInt8(ascii: " "))
            return fields.count > 1 ? Int64(String(decoding: fields[1], as: UTF8.self)) : nil
        }
    }
}
