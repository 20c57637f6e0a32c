import JSON
import Operations
import OperatorAPI
import OperatorModel
import Runtime
import StagingService

/// Staging tasks as the operations that operators list, look at and cancel.
struct StagingOperations: OtherOperations {
    let tasks: StagingTasks

    func list() async throws -> [Operation] { try await tasks.recent().map(\.operation) }

    func find(_ id: String) async throws -> Operation? {
        do throws(StagingError) { return try await tasks.find(id).operation } catch {
            if case .unknown = error { return nil }
            throw error
        }
    }

    func cancel(_ id: String, by user: String) async throws -> Operation? {
        guard let operation = try await find(id) else { return nil }
        guard operation.state == .queued || operation.state == .running else { throw OperationError.ended(id: id) }
        try await tasks.cancel(id, by: user)
        return try await find(id)
    }
}

extension StagingRecord {
    fileprivate var operation: Operation {
        let state: Operation.State =
            switch self.state {
            case .queued: .queued
            case .running: .running
            case .staged: .done
            case .failed: .failed
            case .cancelled: .cancelled
            }
        func time(_ nanoseconds: Int64) -> Time { Time(Timestamp(nanoseconds: nanoseconds).rfc3339) }
        let parameters = ["app": app, "space": space, "org": org].filter { !$0.value.isEmpty }
        return Operation(
            id: guid, kind: "staging", by: by, parameters: parameters, state: state,
            begun: time(started ?? created), ended: ended.map(time),
            cancelledBy: nil, progress: nil,
            report: Operation.Report(
                json: droplet.map { StagedApp(droplet: $0.digest, size: $0.size).json } ?? .null),
            failure: failure.map { .init(code: $0.id.rawValue, error: $0.message) })
    }
}
