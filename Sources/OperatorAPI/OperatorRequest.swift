import HTTPServer
import HTTPTypes
import Identity
import Images
import JSON
import OperatorModel
import Rootfs

/// Request parameters that several routes need.
extension Request {
    var user: String { principal?.name ?? "" }

    func stack() throws -> StackName { try StackName(parameters["stack"]) }
    func version() throws -> VersionName { try VersionName(parameters["version"]) }
    func architecture() throws -> Architecture { try Architecture(try query("arch") ?? "amd64") }

    /// A query parameter that must be present.
    /// - Parameter what: its meaning, for the error message.
    func needed(_ name: String, _ what: String) throws -> String {
        guard let value = try query(name) else { throw HTTPFailure.query("\(name) is missing: \(what)") }
        return value
    }

    /// A query parameter that is `true` or `false`. A missing one is `false`, one without a value is `true`.
    func flag(_ name: String) throws -> Bool {
        switch try query(name) {
        case nil, "false": return false
        case "true", "": return true
        default: throw HTTPFailure.query("\(name) is true or false")
        }
    }

    /// Decodes a small JSON body.
    /// - Parameters:
    ///   - mayBeEmpty: whether a missing body counts as an object without members.
    ///   - maximum: the largest body, in bytes.
    func model<Value: Model>(
        _: Value.Type, mayBeEmpty: Bool = false, maximum: Int64 = 64 << 10
    ) async throws -> Value {
        let bytes = try await body(maximum: maximum).collect()
        do {
            return try Value(request: bytes.isEmpty && mayBeEmpty ? [:] : try JSONValue(parsing: bytes))
        } catch { throw HTTPFailure(.badRequest, "the body can't be taken: \(error)", code: "invalid-body") }
    }
}

extension Response {
    static func model(
        _ model: some Model, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]
    ) -> Response { .json(model.json, status: status, headers: headers) }
}

extension HTTPFailure {
    static func query(_ message: String) -> HTTPFailure { HTTPFailure(.badRequest, message, code: "invalid-query") }
}
