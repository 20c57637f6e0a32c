import Synchronization

/// Hands values from one task to one other. What goes round in it bounds its length, so putting never waits.
final class AsyncQueue<Element: Sendable>: Sendable {
    /// The other side is gone.
    struct Closed: Error {}

    private struct State {
        var elements: [Element] = []
        var waiter: CheckedContinuation<Element?, Never>?
        var isClosed = false
    }

    private let state = Mutex(State())

    func put(_ element: consuming Element) {
        let element = element
        let waiter = state.withLock { state -> CheckedContinuation<Element?, Never>? in
            guard !state.isClosed else { return nil }
            guard let waiter = state.waiter else {
                state.elements.append(element)
                return nil
            }
            state.waiter = nil
            return waiter
        }
        waiter?.resume(returning: element)
    }

    /// Waits for the next value. Only one task may wait at a time.
    ///
    /// - Throws: `Closed`, or `CancellationError`.
    func take() async throws -> Element {
        try Task.checkCancellation()
        if let element = takeNow() { return element }
        let element = await withTaskCancellationHandler {
            await withCheckedContinuation { (waiter: CheckedContinuation<Element?, Never>) in
                let element = state.withLock { state -> Element?? in
                    if state.isClosed { return .some(nil) }
                    if !state.elements.isEmpty { return state.elements.removeFirst() }
                    state.waiter = waiter
                    return nil
                }
                if let element { waiter.resume(returning: element) }
            }
        } onCancel: {
            close()
        }
        guard let element else {
            try Task.checkCancellation()
            throw Closed()
        }
        return element
    }

    /// Ends all waiting, now and later. What is in the queue is dropped.
    func close() {
        let waiter = state.withLock { state -> CheckedContinuation<Element?, Never>? in
            state.isClosed = true
            state.elements = []
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume(returning: nil)
    }

    private func takeNow() -> Element? {
        state.withLock { $0.elements.isEmpty || $0.isClosed ? nil : $0.elements.removeFirst() }
    }
}
