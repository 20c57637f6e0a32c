public import Foundation

/// The time that the stand-in lives in. It stands still until it is advanced, so that back-off, deadlines and the
/// expiry of tokens and leases take no time in a test, and happen in the same order in each run.
public struct VirtualClock: Sendable {
    public private(set) var now: Date
    private var timers: Set<Date> = []

    init(start: Date) {
        // Timestamps have whole seconds, so a whole second is where they begin.
        now = Date(timeIntervalSince1970: start.timeIntervalSince1970.rounded(.down))
    }

    /// Notes that something is to be looked at again then. Bounded: a controller asks again each time it looks.
    mutating func wake(at time: Date) { if time > now, timers.count < 100_000 { timers.insert(time) } }
    mutating func wake(after seconds: Double) { wake(at: now + seconds) }

    /// Goes to the next timer that is due until then, or else there.
    mutating func step(towards time: Date) {
        now = max(now, min(timers.min() ?? time, time))
        timers = timers.filter { $0 > now }
    }

    /// The current time as Kubernetes writes it in metadata (`metav1.Time`): whole seconds.
    var timestamp: String { Self.timestamp(now) }
    /// As leases and events have it (`metav1.MicroTime`).
    var microTimestamp: String { String(Self.timestamp(now).dropLast()) + ".000000Z" }

    static func timestamp(_ date: Date) -> String { date.formatted(.iso8601) }
    static func date(_ text: String?) -> Date? {
        guard let text else { return nil }
        return try? Date(String(text.prefix { $0 != "." }.prefix(19)) + "Z", strategy: .iso8601)
    }
}
