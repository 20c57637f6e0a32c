public import JSON
import Synchronization

/// Something that happened, as those who follow are told.
public struct Event: Hashable, Sendable {
    /// Grows by one with each event of a process.
    public let number: Int
    /// What kind, such as `rootfs.promoted`.
    public let kind: String
    /// What is known of it: names, never secrets.
    public let data: JSONValue
}

/// What happens in this process, for those who want to react to it without polling.
///
/// The last `maximum` events are kept, so that one who was cut off for a moment misses nothing. Who was away for longer,
/// or since before this process started, is told so and looks at the state itself: events say that something may have
/// changed, they are no record of it.
public final class Events: Sendable {
    /// How many events are kept.
    public static let maximum = 1000

    public enum Next: Hashable, Sendable {
        case events([Event])
        /// Nothing happened for a while: the connection is to be kept awake.
        case nothing
        /// Events were missed. The number is that of the last event so far.
        case missed(last: Int)
    }

    private struct State {
        var kept: [Event] = []
        var last = 0
        /// Counts calls of `tick`.
        var ticks = 0
        var isClosed = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())
    /// Tells this process's numbers from those of the one before it.
    public let origin: String

    public init() {
        var generator = SystemRandomNumberGenerator()
        origin = String(UInt64.random(in: .min ... .max, using: &generator), radix: 36)
    }

    public func add(_ kind: String, _ data: JSONValue) {
        wake { state in
            state.last += 1
            state.kept.append(Event(number: state.last, kind: kind, data: data))
            // Cut now and then only, since each time moves all that stays.
            if state.kept.count > 2 * Self.maximum { state.kept.removeFirst(state.kept.count - Self.maximum) }
        }
    }

    /// Lets everybody who waits know that nothing happened.
    public func tick() { wake { $0.ticks += 1 } }

    /// Nothing comes any more.
    public func close() { wake { $0.isClosed = true } }

    /// The number of the last event so far; 0 if there was none.
    public var last: Int { state.withLock { $0.last } }

    private func wake(_ change: (inout State) -> Void) {
        let waiting = state.withLock { state in
            change(&state)
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    /// What comes after the event with a number; waits until something does, or for the next tick.
    /// - Returns: nil after `close`, and if the caller's task is cancelled.
    public func next(after number: Int) async -> Next? {
        let ticks = state.withLock { $0.ticks }
        while !Task.isCancelled {
            if let next = state.withLock({ Self.next(in: $0, after: number, ticks) }) { return next }
            if state.withLock({ $0.isClosed }) { return nil }
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let isReady = state.withLock { state in
                        if state.isClosed || Task.isCancelled || Self.next(in: state, after: number, ticks) != nil {
                            return true
                        }
                        state.waiting.append(continuation)
                        return false
                    }
                    if isReady { continuation.resume() }
                }
            } onCancel: {
                // Wakes the others as well, who look again.
                wake { _ in }
            }
        }
        return nil
    }

    /// - Returns: nil if there is nothing to tell.
    private static func next(in state: State, after number: Int, _ ticks: Int) -> Next? {
        if number < state.last {
            guard let first = state.kept.first?.number, number >= first - 1 else { return .missed(last: state.last) }
            return .events(Array(state.kept[(number - first + 1)...]))
        }
        if number > state.last { return .missed(last: state.last) }
        return state.ticks != ticks ? .nothing : nil
    }
}
