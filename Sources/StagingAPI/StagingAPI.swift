public import HTTPServer
import HTTPTypes
import Identity
import JSON
import Logging
package import StagingService

/// The routes by which the cloud controller has apps staged: `/stage/<guid>`.
public struct StagingAPI: Sendable {
    private let tasks: StagingTasks?

    /// - Parameter tasks: nil: staging is off, and each route says so.
    package init(tasks: StagingTasks?) { self.tasks = tasks }

    public var routes: Routes {
        var routes = Routes(errors: StagingErrors())
        routes.on(.post, "/stage/:guid") { request in
            let tasks = try self.running()
            let body = try await request.body(maximum: Int64(StagingRequest.maximumSize)).collect()
            let json: JSONValue
            do { json = try JSONValue(parsing: body) } catch { throw StagingError.invalid("the body is \(error)") }
            let wanted: StagingRequest
            do throws(StagingRequest.Fault) { wanted = try StagingRequest(json) } catch {
                throw StagingError.invalid("\(error)")
            }
            let record = try await tasks.begin(
                request.parameters["guid"], wanted, by: request.principal?.name ?? "")
            request.logger.notice("staging asked for", metadata: ["guid": "\(record.guid)"])
            return .json(record.document, status: .accepted)
        }
        routes.on(.put, "/stage/:guid/completed") { request in
            let tasks = try self.running()
            let guid = request.parameters["guid"]
            let body = try await request.body(maximum: Int64(StagingOutcome.maximumReport)).collect()
            guard let json = try? JSONValue(parsing: body), let outcome = StagingOutcome(report: json) else {
                throw StagingError.invalid(
                    "the body is no report: that has failed with failure_reason, or result and droplet")
            }
            guard [guid, "", nil].contains(json["task_guid"]?.string) else {
                throw StagingError.invalid("the report is another task's")
            }
            return .json(try await tasks.complete(guid, outcome).document)
        }
        routes.get("/stage/:guid") { request in
            .json(try await self.running().find(request.parameters["guid"]).document)
        }
        routes.get("/stage/:guid/log") { request in
            switch try await self.running().log(request.parameters["guid"]) {
            case .closed(let bytes): return .bytes(bytes, contentType: "text/plain; charset=utf-8")
            case .open(let log):
                // With ?follow=true the answer ends with the task.
                let follows = try request.query("follow") == "true"
                return .stream(contentType: "text/plain; charset=utf-8") { send in
                    var position = 0
                    while follows || log.length > position, let (bytes, next) = await log.next(after: position) {
                        try await send(bytes)
                        position = next
                    }
                }
            }
        }
        routes.delete("/stage/:guid") { request in
            try await self.running().cancel(request.parameters["guid"], by: request.principal?.name ?? "")
            return Response(status: .noContent)
        }
        return routes
    }

    private func running() throws(HTTPFailure) -> StagingTasks {
        guard let tasks else {
            throw HTTPFailure(
                .notImplemented, "staging is off here: the setting staging.runner, 'local' for one, switches it on")
        }
        return tasks
    }
}

/// Failures as the controller reads them: `{"message"}`.
struct StagingErrors: ErrorEnvelope {
    func failure(for error: any Error) -> HTTPFailure? {
        if let failure = error as? HTTPFailure { return failure }
        guard let error = error as? StagingError else { return nil }
        return switch error {
        case .invalid: HTTPFailure(.badRequest, error.description)
        case .unknown: HTTPFailure(.notFound, error.description)
        case .ended, .decided: HTTPFailure(.conflict, error.description)
        case .tooMany: HTTPFailure(.tooManyRequests, error.description, headers: [.retryAfter: "30"])
        case .record: HTTPFailure(.serviceUnavailable, error.description, headers: [.retryAfter: "5"])
        }
    }

    func body(of failure: HTTPFailure, requestID: String) -> (contentType: String, bytes: [UInt8]) {
        let json: JSONValue = ["message": .string(failure.message), "request": .string(requestID)]
        return ("application/json", json.canonicalBytes)
    }
}
