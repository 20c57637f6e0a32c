import CLinux
import Glibc

/// The system's clocks. Code that depends on the time takes a clock as a function, so that tests can pass their own.
package enum SystemClock {
    /// Nanoseconds since 1970: the clock that people set.
    package static func now() -> Int64 { read(CLOCK_REALTIME) }

    /// Nanoseconds of the clock that is never set, for waiting and measuring.
    package static func monotonic() -> Int64 { read(CLOCK_MONOTONIC) }

    /// Nanoseconds that the calling thread spent on a processor.
    package static func threadTime() -> Int64 { read(CLOCK_THREAD_CPUTIME_ID) }

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
