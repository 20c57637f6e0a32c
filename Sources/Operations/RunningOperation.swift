package import JSON
import Synchronization

/// An operation that runs in this process.
package final class RunningOperation: Sendable {
    private struct State {
        var record: OperationRecord
        /// Whether the record has changed since it was last written.
        var hasChanged = false
        /// Whether the runner does the work, and not the caller's own task (`attend`).
        var isQueued = false
        /// Whether somebody cancelled it or the process is stopping.
        var isCancelled = false
        /// Finished when `isCancelled` becomes true.
        var cancellation: AsyncStream<Void>.Continuation?
    }

    private let state: Mutex<State>
    package let id: String

    init(_ record: OperationRecord) {
        id = record.id
        state = Mutex(State(record: record))
    }

    package var record: OperationRecord { state.withLock { $0.record } }

    /// Sets the progress, and the report unless it is nil.
    package func advance(to progress: OperationRecord.Progress?, _ report: JSONValue? = nil) {
        change { record in
            record.progress = progress
            if let report { record.report = report }
        }
    }

    /// Adds to what is done of the progress.
    package func advance(by count: Int64) { change { $0.progress?.done += count } }

    func change(_ body: (inout OperationRecord) -> Void) {
        state.withLock { state in
            // An operation that has ended keeps its outcome.
            guard state.record.state == .running else { return }
            body(&state.record)
            state.hasChanged = true
        }
    }

    var isQueued: Bool {
        get { state.withLock { $0.isQueued } }
        set { state.withLock { $0.isQueued = newValue } }
    }

    /// - Parameter who: the user who asks for it; nil if the process stops.
    func cancel(by who: String?) {
        if let who { change { $0.cancelledBy = $0.cancelledBy ?? who } }
        let cancellation = state.withLock { state in
            state.isCancelled = true
            return state.cancellation
        }
        cancellation?.finish()
    }

    /// Runs work to its end and cancels its task on request. Work that finishes despite the request counts as done.
    func run<Value: Sendable>(
        _ work: @escaping @Sendable (RunningOperation) async throws -> Value
    ) async -> Result<Value, any Error> {
        let (cancellations, cancellation) = AsyncStream.makeStream(of: Void.self)
        let isCancelled = state.withLock { state in
            state.cancellation = cancellation
            return state.isCancelled
        }
        if isCancelled { cancellation.finish() }
        return await withTaskGroup(of: Result<Value, any Error>?.self) { group in
            group.addTask {
                do { return .success(try await work(self)) } catch { return .failure(error) }
            }
            group.addTask {
                for await _ in cancellations {}
                return nil
            }
            var result: Result<Value, any Error>?
            while let next = await group.next() {
                result = next ?? result
                group.cancelAll()
            }
            return result ?? .failure(CancellationError())
        }
    }

    /// Sets the operation's outcome.
    /// - Parameter describe: turns an error into the failure that the record shows.
    func end(
        _ result: Result<JSONValue, any Error>, at time: Int64, describe: (any Error) -> OperationRecord.Failure
    ) {
        let wasCancelled = state.withLock { $0.isCancelled } || Task.isCancelled
        change { record in
            record.ended = time
            switch result {
            case .success(let report):
                record.state = .done
                record.report = report
            case .failure where record.cancelledBy != nil: record.state = .cancelled
            case .failure(let error) where wasCancelled || error is CancellationError || error is OperationError:
                record.state = .interrupted
                record.failure = .init(code: "interrupted", message: "the server stopped, or its sender went away")
            case .failure(let error):
                record.state = .failed
                record.failure = describe(error)
            }
        }
    }

    /// The record to write, with a new lease; nil if there is nothing to write.
    /// - Parameter renews: whether to renew the lease even if nothing else changed.
    func unwritten(lease: Int64, renews: Bool) -> OperationRecord? {
        state.withLock { state in
            guard state.hasChanged || renews && state.record.state == .running else { return nil }
            state.hasChanged = false
            state.record.lease = lease
            return state.record
        }
    }

    func keepUnwritten() { state.withLock { $0.hasChanged = true } }
}
