package import JSON

/// An answer that is an error: a `Status` object (API conventions, "Response Status Kind").
package struct APIFailure: Error, Sendable {
    var code: Int
    var reason: String
    var message: String
    var details: JSONValue?
    var retryAfter: Int?
    /// Of a list that can be gone on with inconsistently (API concepts, "410 Gone responses").
    var continuation: String?

    init(
        _ code: Int, _ reason: String, _ message: String, details: JSONValue? = nil, retryAfter: Int? = nil,
        continuation: String? = nil
    ) {
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.retryAfter = retryAfter
        self.continuation = continuation
    }

    package var status: JSONValue {
        var status: JSONValue = [
            "kind": "Status", "apiVersion": "v1", "metadata": [:], "status": "Failure", "code": .integer(code),
            "reason": .string(reason), "message": .string(message),
        ]
        status.set(continuation.map(JSONValue.string), "metadata", "continue")
        status.set(details, "details")
        if let retryAfter { status.set(.integer(retryAfter), "details", "retryAfterSeconds") }
        return status
    }

    /// Success without an object.
    static func success(details: JSONValue?) -> JSONValue {
        var status: JSONValue = ["kind": "Status", "apiVersion": "v1", "metadata": [:], "status": "Success"]
        status.set(details, "details")
        return status
    }

    static func badRequest(_ message: String) -> APIFailure { APIFailure(400, "BadRequest", message) }

    static let unauthorized = APIFailure(401, "Unauthorized", "Unauthorized")

    static func forbidden(_ message: String, _ type: ResourceType? = nil, _ name: String = "") -> APIFailure {
        APIFailure(403, "Forbidden", message, details: type.map { details($0, name) })
    }

    static let pathNotFound = APIFailure(
        404, "NotFound", "the server could not find the requested resource", details: [:])

    static func notFound(_ type: ResourceType, _ name: String) -> APIFailure {
        APIFailure(404, "NotFound", "\(type.qualified) \"\(name)\" not found", details: details(type, name))
    }

    static func alreadyExists(_ type: ResourceType, _ name: String) -> APIFailure {
        APIFailure(409, "AlreadyExists", "\(type.qualified) \"\(name)\" already exists", details: details(type, name))
    }

    static func conflict(_ type: ResourceType, _ name: String, _ why: String) -> APIFailure {
        APIFailure(
            409, "Conflict", "Operation cannot be fulfilled on \(type.qualified) \"\(name)\": \(why)",
            details: details(type, name))
    }

    static let wasModified =
        "the object has been modified; please apply your changes to the latest version and try again"

    static func methodNotAllowed(_ verb: String) -> APIFailure {
        APIFailure(405, "MethodNotAllowed", "\(verb) is not supported on resources of this kind", details: [:])
    }

    static func unsupportedMediaType(_ accepted: [String]) -> APIFailure {
        APIFailure(
            415, "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: "
                + accepted.joined(separator: ", "))
    }

    /// 422 with a cause for each field.
    static func invalid(_ type: ResourceType, _ name: String, _ causes: [(field: String, message: String)])
        -> APIFailure
    {
        var details = details(type, name)
        details.set(.string(type.kind), "kind")
        details.set(
            .array(
                causes.map {
                    ["reason": "FieldValueInvalid", "message": .string($0.message), "field": .string($0.field)]
                }), "causes")
        let text = causes.map { "\($0.field): \($0.message)" }
        let kind = type.group.isEmpty ? type.kind : "\(type.kind).\(type.group)"
        return APIFailure(
            422, "Invalid",
            "\(kind) \"\(name)\" is invalid: "
                + (text.count == 1 ? text[0] : "[" + text.joined(separator: ", ") + "]"),
            details: details)
    }

    /// What `apierrors.NewGenericServerResponse` makes of a patch that can't be applied.
    static func unprocessable(_ message: String, _ type: ResourceType, _ name: String) -> APIFailure {
        APIFailure(422, "Invalid", message, details: details(type, name))
    }

    static func expired(_ message: String, continuation: String? = nil) -> APIFailure {
        APIFailure(410, "Expired", message, continuation: continuation)
    }

    static let tooOldContinue =
        "The provided continue parameter is too old to display a consistent list result. You can start a new list "
        + "without the continue parameter, or use the continue token in this response to retrieve the remainder of "
        + "the results. Continuing with the provided token results in an inconsistent list - objects that were "
        + "created, modified, or deleted between the time the first chunk was returned and now may show up in the list."

    /// API concepts, "Unavailable resource versions": 504 with this cause.
    static func tooLargeResourceVersion(_ asked: Int, current: Int) -> APIFailure {
        APIFailure(
            504, "Timeout", "Too large resource version: \(asked), current: \(current)",
            details: [
                "causes": [["reason": "ResourceVersionTooLarge", "message": "Too large resource version"]]
            ], retryAfter: 1)
    }

    static func tooManyRequests(_ message: String, retryAfter: Int?) -> APIFailure {
        APIFailure(429, "TooManyRequests", message, retryAfter: retryAfter)
    }

    static func internalError(_ message: String) -> APIFailure {
        APIFailure(500, "InternalError", "Internal error occurred: \(message)")
    }

    private static func details(_ type: ResourceType, _ name: String) -> JSONValue {
        var details: JSONValue = ["name": .string(name), "kind": .string(type.plural)]
        if !type.group.isEmpty { details.set(.string(type.group), "group") }
        return details
    }
}
