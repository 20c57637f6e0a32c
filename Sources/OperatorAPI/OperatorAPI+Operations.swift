import HTTPServer
import HTTPTypes
import Images
import JSON
import Maintenance
import Operations
import OperatorModel
import Runtime

/// Operations of every kind.
extension OperatorAPI {
    var operationRoutes: [OperatorRoute] {
        [
            OperatorRoute(
                .get, "/api/v1/operations", "Long work that runs, and what ended last of each kind, the newest first."
            ) { _ in OperatorModel.Operations(operations: try await operations.list().map(\.model)) },
            OperatorRoute(
                .get, "/api/v1/operations/:id", "How an operation goes, or what came of it.", refusals: [404]
            ) { try await operations.find($0.parameters["id"]).model },
            OperatorRoute(
                .post, "/api/v1/operations/:id/cancel",
                "Wants an operation cancelled: it is when its state says so. What it did stays.",
                answers: [202: .model(Operation.self)], refusals: [404, 409]
            ) { .accepted(try await operations.cancel($0.parameters["id"], by: $0.user)) },
        ]
    }
}

extension Response {
    /// Answers with an operation that was begun, and the URL at which its progress can be read.
    static func accepted(_ record: OperationRecord) -> Response {
        .model(record.model, status: .accepted, headers: [.location: "/api/v1/operations/\(record.id)"])
    }
}

extension OperationRecord {
    var model: Operation {
        Operation(
            id: id, kind: kind, by: by, parameters: parameters, state: state.model,
            begun: Timestamp(nanoseconds: begun).model, ended: ended.map { Timestamp(nanoseconds: $0).model },
            cancelledBy: cancelledBy,
            progress: progress.map { .init(done: $0.done, total: $0.total, unit: $0.unit) },
            report: Operation.Report(json: report),
            failure: failure.map { .init(code: $0.code, error: $0.message) })
    }
}

extension OperationRecord.State {
    fileprivate var model: Operation.State {
        switch self {
        case .running: .running
        case .done: .done
        case .failed: .failed
        case .cancelled: .cancelled
        case .interrupted: .interrupted
        }
    }
}
