import HTTPServer
import HTTPTypes
import Images
import JSON
import Maintenance
import Operations
package import OperatorModel
import Runtime

/// Operations of every kind.
extension OperatorAPI {
    var operationRoutes: [OperatorRoute] {
        [
            OperatorRoute(
                .get, "/api/v1/operations", "Long work that runs, and what ended last of each kind, the newest first."
            ) { _ in
                var all = try await operations.list().map(\.model)
                if let others {
                    all += try await others.list()
                    all.sort { ($0.begun.description, $0.id) > ($1.begun.description, $1.id) }
                }
                return OperatorModel.Operations(operations: all)
            },
            OperatorRoute(
                .get, "/api/v1/operations/:id", "How an operation goes, or what came of it.", refusals: [404]
            ) { request in
                let id = request.parameters["id"]
                do throws(OperationError) { return try await operations.find(id).model } catch {
                    guard case .unknown = error, let other = try await others?.find(id) else { throw error }
                    return other
                }
            },
            OperatorRoute(
                .post, "/api/v1/operations/:id/cancel",
                "Wants an operation cancelled: it is when its state says so. What it did stays.",
                answers: [202: .model(Operation.self)], refusals: [404, 409]
            ) { request in
                let id = request.parameters["id"]
                do throws(OperationError) {
                    return .accepted(try await operations.cancel(id, by: request.user).model)
                } catch {
                    guard case .unknown = error, let other = try await others?.cancel(id, by: request.user) else {
                        throw error
                    }
                    return .accepted(other)
                }
            },
        ]
    }
}

/// Long work that is recorded elsewhere, and shown among the operations.
package protocol OtherOperations: Sendable {
    /// What runs or waits, and what ended last, bounded.
    func list() async throws -> [Operation]
    /// - Returns: nil if it is none of these.
    func find(_ id: String) async throws -> Operation?
    /// - Returns: nil if it is none of these.
    /// - Throws: `OperationError.ended`.
    func cancel(_ id: String, by user: String) async throws -> Operation?
}

extension Response {
    /// Answers with an operation that was begun, and the URL at which its progress can be read.
    static func accepted(_ record: OperationRecord) -> Response { accepted(record.model) }

    static func accepted(_ operation: Operation) -> Response {
        .model(operation, status: .accepted, headers: [.location: "/api/v1/operations/\(operation.id)"])
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
