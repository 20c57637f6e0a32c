import HTTPServer
import HTTPTypes
import Images
import Logging
import Maintenance
import OperatorModel
import Rootfs
import Runtime

/// The current version of a stack, and changes of it.
extension OperatorAPI {
    /// The longest reason for a change, in bytes.
    private static let maximumReason = 1000

    var promotionRoutes: [OperatorRoute] {
        [
            OperatorRoute(
                .get, "/api/v1/rootfs/:stack/current",
                "What is current, how it came to that, and where a rollback leads. ETag: changes with every promotion.",
                answers: [200: .model(Current.self)], refusals: [400, 404]
            ) { request in
                let stack = try request.stack()
                var (current, generation) = try current(of: stack)
                current.droplets = try await dropletsOnCurrent(of: stack)
                return answer(current, generation)
            },
            OperatorRoute(
                .put, "/api/v1/rootfs/:stack/current",
                "Promotes a version. With `expect`, or If-Match, only if nobody promoted another one meanwhile.",
                body: .model(PromotionRequest.self), answers: [200: .model(Current.self)],
                refusals: [400, 404, 409, 412]
            ) { request in
                let wanted = try await request.model(PromotionRequest.self)
                let version = try VersionName(wanted.version)
                return try await change(request, wanted.change) { stack, reason, expectation in
                    let before = rootfs.history(stack)?.generation
                    let history = try await rootfs.promote(
                        stack, version, by: request.user, reason: reason, expecting: expectation)
                    if history.generation != before {
                        request.logger.notice(
                            "rootfs promoted", metadata: ["stack": "\(stack)", "version": "\(version)"])
                    }
                    return version
                }
            },
            OperatorRoute(
                .post, "/api/v1/rootfs/:stack/rollback",
                "Goes back to what was current before, of what is still there and not blocked.",
                body: .model(ChangeRequest.self), bodyIsOptional: true, answers: [200: .model(Current.self)],
                refusals: [400, 404, 409, 412]
            ) { request in
                let wanted = try await request.model(ChangeRequest.self, mayBeEmpty: true)
                return try await change(request, wanted) { stack, reason, expectation in
                    let version = try await rootfs.rollBack(
                        stack, by: request.user, reason: reason, expecting: expectation
                    ).current
                    request.logger.notice(
                        "rootfs rolled back", metadata: ["stack": "\(stack)", "version": "\(version)"])
                    return version
                }
            },
        ]
    }

    /// - Returns: what is current, and the promotion that it became so by.
    private func current(of stack: StackName) throws(ImageError) -> (Current, generation: Int64) {
        guard let history = rootfs.history(stack) else {
            _ = try rootfs.versions(stack)
            throw .nothingPromoted(stack)
        }
        let (version, promotions) = (history.current, history.promotions)
        var current = Current(
            stack: stack.text, version: version.text, state: rootfs.availability(stack, version).model,
            since: promotions.first?.at.model, rollback: rootfs.rollbackTarget(stack)?.text,
            history: promotions.map(\.model))
        current.compatible = settings.compatibleStacks[stack]?.text
        return (current, history.generation)
    }

    /// Answers with an ETag that changes with every promotion, so that `If-Match` refuses a change after another one.
    private func answer(_ current: Current, _ generation: Int64) -> Response {
        .model(current, headers: [.eTag: EntityTag(String(generation)).text])
    }

    /// Makes a change and answers with the version that is current afterwards.
    /// - Parameter body: makes the change and returns the new current version.
    private func change(
        _ request: Request, _ wanted: ChangeRequest,
        _ body: (StackName, _ reason: String, PromotionExpectation?) async throws -> VersionName
    ) async throws -> Response {
        let stack = try request.stack()
        let (reason, expectation) = (try Self.checked(reason: wanted.reason), try Self.expectation(request, wanted))
        let version: VersionName
        do { version = try await body(stack, reason, expectation) } catch let error as ImageError {
            guard case .promotedMeanwhile = error, request.headers[.ifMatch] != nil else { throw error }
            // With the header the status is 412 (RFC 9110, section 13.1.1); without it, it is 409.
            throw HTTPFailure(.preconditionFailed, "\(error)", code: "promoted-meanwhile")
        }
        var (current, generation) = try current(of: stack)
        current.warnings = []
        if let state = rootfs.versionState(stack, version), state.availability == .deprecated {
            current.warnings = [
                "\(stack) \(version) is deprecated\(state.reason.isEmpty ? "" : ": \(state.reason)")"
            ]
            request.logger.warning(
                "a deprecated rootfs is current", metadata: ["stack": "\(stack)", "version": "\(version)"])
        }
        return answer(current, generation)
    }

    /// The request's condition: `If-Match`, or else `expect`, the version that the client expects to be current; nil if
    /// none.
    private static func expectation(
        _ request: Request, _ wanted: ChangeRequest
    ) throws -> PromotionExpectation? {
        guard let header = request.headers[.ifMatch], header != "*" else {
            guard let version = wanted.expect else { return nil }
            return .version(try VersionName(version))
        }
        guard wanted.expect == nil else {
            throw HTTPFailure(.badRequest, "give `expect` or If-Match, not both", code: "invalid-body")
        }
        // A tag that this server never made has no number, and 0 is no promotion's, so it matches nothing.
        return .generation(Int64(header.filter { $0 != "\"" }) ?? 0)
    }

    static func checked(reason: String?) throws(HTTPFailure) -> String {
        let reason = reason ?? ""
        guard reason.utf8.count <= maximumReason else {
            throw HTTPFailure(.badRequest, "the reason has more than \(maximumReason) bytes", code: "invalid-body")
        }
        return reason
    }
}
