import Glibc
import Logs
import Synchronization

/// The value of the Date header, made once a second.
final class DateCache: Sendable {
    private let value = Mutex((seconds: 0, text: ""))

    var now: String {
        let seconds = time(nil)
        return value.withLock { value in
            if value.seconds != seconds {
                value = (seconds, WallTime(seconds: seconds, nanoseconds: 0).httpDate)
            }
            return value.text
        }
    }
}
