public import HTTPTypes
import Identity
public import JSON

/// An answer that is not a success: what a client is told, without anything internal.
public struct HTTPFailure: Error, Sendable {
    public var status: HTTPResponse.Status
    /// The API's own code for it, for example `MANIFEST_UNKNOWN`; empty where the status says it all.
    public var code: String
    /// For people: what is wrong and what to do.
    public var message: String
    public var headers: HTTPFields
    public var detail: JSONValue?

    public init(
        _ status: HTTPResponse.Status, _ message: String, code: String = "", headers: HTTPFields = [:],
        detail: JSONValue? = nil
    ) {
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers
        self.detail = detail
    }
}

extension HTTPFailure {
    /// The envelope adds how a client may say who it is (`ErrorEnvelope.challenges`).
    package static let unauthorized = HTTPFailure(
        .unauthorized, "authentication is required", code: "UNAUTHORIZED")

    static let badToken = HTTPFailure(
        .unauthorized, "the token is not good, or not any more: fetch another one", code: "UNAUTHORIZED")

    static let lesserToken = HTTPFailure(
        .unauthorized, "the token does not grant this: fetch one that does", code: "UNAUTHORIZED")

    /// - Parameter roles: the roles of which one is enough.
    static func forbidden(_ roles: some Collection<Role>) -> HTTPFailure {
        let names = roles.map(\.rawValue).sorted().joined(separator: " or ")
        return HTTPFailure(.forbidden, "this needs the role \(names)", code: "DENIED")
    }

    static let foreignCluster = HTTPFailure(
        .forbidden, "this needs the role cluster, bound to this cluster, or operator", code: "DENIED")

    static func forbidden(_ role: Role, on repository: String) -> HTTPFailure {
        HTTPFailure(.forbidden, "this needs the role \(role) on \(repository.prefix(256))", code: "DENIED")
    }

    static let overloaded = HTTPFailure(
        .serviceUnavailable, "too many passwords are being checked: try again", code: "UNAVAILABLE",
        headers: [.retryAfter: "5"])

    /// - Parameter seconds: until the next password of the address is looked at.
    static func tooManyFailures(retryAfter seconds: Int) -> HTTPFailure {
        HTTPFailure(
            .tooManyRequests, "too many wrong passwords came from this address: try again in \(seconds) s",
            code: "TOOMANYREQUESTS", headers: [.retryAfter: String(seconds)])
    }

    /// - Parameter seconds: until the next request of the address is taken.
    static func tooManyRequests(retryAfter seconds: Int) -> HTTPFailure {
        HTTPFailure(
            .tooManyRequests, "too many requests come from this address: try again in \(seconds) s",
            code: "TOOMANYREQUESTS", headers: [.retryAfter: String(seconds)])
    }

    /// The memory or the places that the server has for requests are all taken.
    static let busy = HTTPFailure(
        .serviceUnavailable, "the server has no room for this now: try again", code: "UNAVAILABLE",
        headers: [.retryAfter: "1"])

    static let badPath = HTTPFailure(
        .badRequest, "the path is not escaped as it should be", code: "NAME_INVALID")

    static let badSignature = HTTPFailure(
        .forbidden, "the URL's signature is not good for this request, or not any more", code: "DENIED")

    static let notFound = HTTPFailure(.notFound, "there is nothing here", code: "NOT_FOUND")

    static func tooLarge(maximum: Int64) -> HTTPFailure {
        HTTPFailure(.contentTooLarge, "the body has more than \(maximum) bytes", code: "SIZE_INVALID")
    }

    static let stalled = HTTPFailure(.requestTimeout, "the body stopped coming", code: "TIMEOUT")
    static let brokenBody = HTTPFailure(.badRequest, "the body is not framed as it should be", code: "SIZE_INVALID")

    /// For the log only: the client is gone and does not read the answer.
    static let clientGone = HTTPFailure(
        .init(code: 499, reasonPhrase: "Client Closed Request"), "the client went away", code: "CANCELED")

    static func methodNotAllowed(_ allowed: [HTTPRequest.Method]) -> HTTPFailure {
        HTTPFailure(
            .methodNotAllowed, "this method is not supported here", code: "UNSUPPORTED",
            headers: [.allow: allowed.map(\.rawValue).joined(separator: ", ")])
    }

    static func inside(requestID: String) -> HTTPFailure {
        HTTPFailure(
            .internalServerError, "something failed inside: see the log for request \(requestID)", code: "UNKNOWN")
    }
}

/// How one API words its failures: its table of errors, and the document that its clients read.
public protocol ErrorEnvelope: Sendable {
    /// Sent with every failure.
    var headers: HTTPFields { get }

    /// How a client that is answered 401 may say who it is: the values of `WWW-Authenticate`, each a header field of its
    /// own, since some clients read no more than one challenge of a field.
    func challenges(for request: Request) -> [String]

    /// The failure that an error of the API's domain stands for. For nil the server answers 500 without any detail and
    /// logs the error.
    func failure(for error: any Error) -> HTTPFailure?

    /// The body of a failure, those included that the server itself raises (401, 403, 404, 405, 413, 429, 500 …).
    func body(of failure: HTTPFailure, requestID: String) -> (contentType: String, bytes: [UInt8])
}

extension ErrorEnvelope {
    public var headers: HTTPFields { [:] }

    public func challenges(for request: Request) -> [String] { [Self.passwords] }

    /// The challenge of Basic authentication (RFC 7617).
    public static var passwords: String { #"Basic realm="cistern""# }

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
