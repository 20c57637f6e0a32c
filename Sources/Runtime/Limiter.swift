import Synchronization

/// Lets a number of callers run at a time; others wait in the order in which they came.
package final class Limiter: Sendable {
    private struct State {
        var free: Int
        var next: UInt64 = 0
        var line: [(id: UInt64, continuation: CheckedContinuation<Bool, Never>)] = []
        /// Callers that have an id, but do not wait in `line` yet.
        var arriving: Set<UInt64> = []
    }

    private let state: Mutex<State>

    package init(_ count: Int) { state = Mutex(State(free: count)) }

    /// Runs the body once there is a place for it.
    /// - Parameter cancelled: thrown if the calling task is cancelled while it waits.
    package func run<Value, Failure: Error>(
        cancelled: Failure, _ body: () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        guard await enter() else { throw cancelled }
        defer { leave() }
        return try await body()
    }

    private func enter() async -> Bool {
        let id: UInt64? = state.withLock { state in
            if state.free > 0 {
                state.free -= 1
                return nil
            }
            state.next += 1
            state.arriving.insert(state.next)
            return state.next
        }
        guard let id else { return true }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isIn: Bool? = state.withLock { state in
                    // The cancellation handler has removed the id before this caller could wait in line.
                    guard state.arriving.remove(id) != nil else { return false }
                    if state.free > 0 {
                        state.free -= 1
                        return true
                    }
                    state.line.append((id, continuation))
                    return nil
                }
                if let isIn { continuation.resume(returning: isIn) }
            }
        } onCancel: {
            let waiter = state.withLock { state -> CheckedContinuation<Bool, Never>? in
                guard let index = state.line.firstIndex(where: { $0.id == id }) else {
                    state.arriving.remove(id)
                    return nil
                }
                return state.line.remove(at: index).continuation
            }
            waiter?.resume(returning: false)
        }
    }

    private func leave() {
        let waiter = state.withLock { state -> CheckedContinuation<Bool, Never>? in
            guard !state.line.isEmpty else {
                state.free += 1
                return nil
            }
            return state.line.removeFirst().continuation
        }
        waiter?.resume(returning: true)
    }
}
