public import HTTPTypes
import JSON

/// How one API words its failures: its table of errors, and the document that its clients read.
public protocol ErrorEnvelope: Sendable {
    /// Sent with every failure.
    var headers: HTTPFields { get }

    /// The failure that an error of the API's domain stands for. For nil the server answers 500 without any detail and
    /// logs the error.
    func failure(for error: any Error) -> HTTPFailure?

    /// The body of a failure, those included that the server itself raises (401, 403, 404, 405, 413, 429, 500 …).
    func body(of failure: HTTPFailure, requestID: String) -> (contentType: String, bytes: [UInt8])
}

extension ErrorEnvelope {
    public var headers: HTTPFields { [:] }

    public func failure(for error: any Error) -> HTTPFailure? { nil }

    public func body(of failure: HTTPFailure, requestID: String) -> (contentType: String, bytes: [UInt8]) {
        var members: [String: JSONValue] = ["error": .string(failure.message), "request": .string(requestID)]
        if !failure.code.isEmpty { members["code"] = .string(failure.code) }
        if let detail = failure.detail { members["detail"] = detail }
        return ("application/json", JSONValue.object(members).canonicalBytes)
    }
}

/// `{"code","error","request"}`: for routes that belong to no API.
public struct PlainErrors: ErrorEnvelope {
    public init() {}
}
