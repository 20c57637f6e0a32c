import HTTPTypes
import Images
import JSON
import Logging
import Service

extension OperatorAPI {
    /// In bytes.
    private static let maximumReason = 1000

    func addPromotionRoutes(to routes: inout Routes) {
        routes.get("/api/v1/rootfs/:stack/current", access: .role(.operator)) { request in
            let stack = try StackName(request.parameters["stack"])
            var json = try current(of: stack)
            json["droplets"] = .integer(try await dropletsOnCurrent(of: stack))
            return answer(json, stack)
        }
        routes.put("/api/v1/rootfs/:stack/current", access: .role(.operator)) { try await promote($0) }
        routes.post("/api/v1/rootfs/:stack/rollback", access: .role(.operator)) { try await rollBack($0) }
    }

    /// The current version, how it came to that, newest first, and where a rollback leads.
    private func current(of stack: StackName) throws(ImageError) -> [String: JSONValue] {
        let version = try rootfs.current(stack)
        let promotions = rootfs.history(stack)?.promotions ?? []
        return [
            "stack": .string(stack.text), "version": .string(version.text),
            "state": .string(rootfs.availability(stack, version).rawValue),
            "since": promotions.first.map { .string($0.at.rfc3339) } ?? .null,
            "rollback": rootfs.rollbackTarget(stack).map { .string($0.text) } ?? .null,
            "history": .array(promotions.map(\.json)),
        ]
    }

    /// The tag changes with every promotion: `If-Match` with it promotes only if there was none meanwhile.
    private func answer(_ json: [String: JSONValue], _ stack: StackName) -> Response {
        let generation = rootfs.history(stack)?.generation ?? 0
        return .json(.object(json), headers: [.eTag: EntityTag(String(generation)).text])
    }

    private func promote(_ request: Request) async throws -> Response {
        let stack = try StackName(request.parameters["stack"])
        let shape = #"{"version": "…", "reason": "…", "expect": "…"}"#
        let json = try await request.object(shape)
        guard let version = json["version"]?.string else { throw HTTPFailure.body(shape) }
        let name = try VersionName(version)
        let reason = try Self.reason(json)
        let before = rootfs.history(stack)?.generation
        let expectation = try Self.expectation(request, json)
        let history: PromotionHistory
        do {
            history = try await rootfs.promote(
                stack, name, by: request.principal?.name ?? "", reason: reason, expecting: expectation)
        } catch { throw Self.refusal(error, request) }
        if history.generation != before {
            request.logger.notice("rootfs promoted", metadata: ["stack": "\(stack)", "version": "\(name)"])
        }
        return try promoted(stack, name, request)
    }

    private func rollBack(_ request: Request) async throws -> Response {
        let stack = try StackName(request.parameters["stack"])
        let json = try await request.object(#"{"reason": "…", "expect": "…"} or empty"#, mayBeEmpty: true)
        let reason = try Self.reason(json)
        let expectation = try Self.expectation(request, json)
        let history: PromotionHistory
        do {
            history = try await rootfs.rollBack(
                stack, by: request.principal?.name ?? "", reason: reason, expecting: expectation)
        } catch { throw Self.refusal(error, request) }
        request.logger.notice("rootfs rolled back", metadata: ["stack": "\(stack)", "version": "\(history.current)"])
        return try promoted(stack, history.current, request)
    }

    /// What is current after a change, with what is to be said about it.
    private func promoted(_ stack: StackName, _ version: VersionName, _ request: Request) throws -> Response {
        var json = try current(of: stack)
        var warnings: [String] = []
        if let state = rootfs.versionState(stack, version), state.availability == .deprecated {
            let reason = state.reason.isEmpty ? "" : ": \(state.reason)"
            warnings.append("\(stack) \(version) is deprecated\(reason)")
            request.logger.warning(
                "a deprecated rootfs is current", metadata: ["stack": "\(stack)", "version": "\(version)"])
        }
        json["warnings"] = .array(warnings.map { .string($0) })
        return answer(json, stack)
    }

    /// The condition that a request has: `expect`, the version that is believed to be current, or `If-Match`.
    private static func expectation(_ request: Request, _ json: JSONValue) throws(ImageError) -> PromotionExpectation? {
        guard let header = request.headers[.ifMatch], header != "*" else {
            guard let version = json["expect"]?.string else { return nil }
            return .version(try VersionName(version))
        }
        // What is no tag of ours matches nothing.
        return .generation(Int64(header.filter { $0 != "\"" }) ?? 0)
    }

    /// 412 for `If-Match` (RFC 9110, section 13.1.1), where it would be 409.
    private static func refusal(_ error: ImageError, _ request: Request) -> any Error {
        guard case .promotedMeanwhile = error, request.headers[.ifMatch] != nil else { return error }
        return HTTPFailure(.preconditionFailed, "\(error)", code: "promoted-meanwhile")
    }

    static func reason(_ json: JSONValue) throws(HTTPFailure) -> String {
        let reason = json["reason"]?.string ?? ""
        guard reason.utf8.count <= maximumReason else {
            throw HTTPFailure(.badRequest, "the reason has more than \(maximumReason) bytes", code: "invalid-body")
        }
        return reason
    }
}

extension PromotionHistory.Promotion {
    var json: JSONValue {
        [
            "kind": .string(kind.rawValue), "version": .string(version.text), "at": .string(at.rfc3339),
            "by": .string(by), "reason": .string(reason),
        ]
    }
}

extension Request {
    /// The JSON object of a small body.
    /// - Parameter shape: how it should look, for the refusal.
    func object(_ shape: String, mayBeEmpty: Bool = false) async throws -> JSONValue {
        let bytes = try await body(maximum: 64 << 10).collect()
        if bytes.isEmpty, mayBeEmpty { return [:] }
        guard let json = try? JSONValue(parsing: bytes), json.object != nil else { throw HTTPFailure.body(shape) }
        return json
    }
}

extension HTTPFailure {
    static func body(_ shape: String) -> HTTPFailure {
        HTTPFailure(.badRequest, "the body must be \(shape)", code: "invalid-body")
    }
}
