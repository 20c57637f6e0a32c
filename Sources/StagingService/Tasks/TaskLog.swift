import Synchronization

/// What the steps of one task print, as it comes, for those who follow it. Bounded: of a long log the middle is left
/// out.
package final class TaskLog: Sendable {
    /// Bytes that are kept of the beginning, and of the end.
    static let part = 256 << 10
    private static let gap = Array("\n… (a part of the log is left out here)\n".utf8)

    private struct State {
        var first: [UInt8] = []
        var last: [UInt8] = []
        /// How many bytes were printed in all.
        var total = 0
        var isClosed = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    func add(_ bytes: ArraySlice<UInt8>) {
        wake { state in
            guard !state.isClosed else { return }
            let room = Self.part - state.first.count
            state.first += bytes.prefix(room)
            state.last += bytes.dropFirst(room)
            // Cut now and then only, since each time moves all that stays.
            if state.last.count > 2 * Self.part { state.last.removeFirst(state.last.count - Self.part) }
            state.total += bytes.count
        }
    }

    func add(_ line: String) { add(Array("\(line)\n".utf8)[...]) }

    /// Nothing comes any more.
    func close() { wake { $0.isClosed = true } }

    private func wake(_ change: (inout State) -> Void) {
        let waiting = state.withLock { state in
            change(&state)
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    /// How many bytes were printed so far.
    package var length: Int { state.withLock { $0.total } }

    /// All that is kept.
    var bytes: [UInt8] {
        state.withLock { state in
            let last = state.last.suffix(Self.part)
            let isWhole = state.total == state.first.count + last.count
            return state.first + (isWhole ? [] : Self.gap) + last
        }
    }

    /// What follows the first `position` bytes, as far as it is still there; waits if there is nothing yet.
    /// - Returns: the bytes and the position behind them; nil at the end, and if the caller's task is cancelled.
    package func next(after position: Int) async -> (bytes: [UInt8], position: Int)? {
        while !Task.isCancelled {
            let found: (bytes: [UInt8], position: Int)?? = state.withLock { state in
                if position < state.total { return .some(Self.bytes(of: state, after: position)) }
                return state.isClosed ? .some(nil) : nil
            }
            if let found { return found }
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let isReady = state.withLock { state in
                        if position < state.total || state.isClosed || Task.isCancelled { return true }
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

    private static func bytes(of state: State, after position: Int) -> (bytes: [UInt8], position: Int) {
        if position < state.first.count { return (Array(state.first[position...]), state.first.count) }
        let start = state.total - state.last.count
        if position < start { return (gap + state.last, state.total) }
        return (Array(state.last[(position - start)...]), state.total)
    }
}
