public import HTTPTypes
public import Identity
public import Logging
import OCI

/// A request as a route sees it.
public struct Request: Sendable {
    public let method: HTTPRequest.Method
    /// The path as it was received: still percent-encoded, without the query.
    public let path: String
    /// The query as it was received, without its `?`; empty if there is none.
    public let queryText: String
    public let headers: HTTPFields
    /// Identifies this request in logs and answers: the client's own id if it sent an acceptable one.
    public let id: String
    /// The client's IP address.
    public let peer: String
    /// The host and port that the client asked for; nil if it did not say.
    public let authority: String?
    /// Whether it came over TLS.
    public let isSecure: Bool
    /// The values of the parameters in the route's pattern, decoded.
    public internal(set) var parameters = Parameters()
    /// The user who sends the request, or `URLSigner.principal` where its URL is signed; nil only in routes that answer
    /// clients without credentials.
    public internal(set) var principal: Principal?
    /// What clients without credentials may do; nil if that is nothing, or was not looked up.
    var anonymous: Principal?
    /// Whether it is allowed by the signature of its URL, and not by who sends it.
    var isSigned = false
    let source: BodySource
    let baseLogger: Logger

    /// Makes a request for a test of a route.
    public init(
        method: HTTPRequest.Method = .get, target: String, headers: HTTPFields = [:], body: [UInt8] = [],
        parameters: [String: String] = [:], principal: Principal? = nil, anonymous: Principal? = nil,
        id: String = "test", authority: String? = nil,
        logger: Logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    ) {
        self.init(
            method: method, target: target, headers: headers, id: id, peer: "-", authority: authority,
            isSecure: true, source: .bytes(body), logger: logger)
        self.parameters = Parameters(parameters)
        self.principal = principal
        self.anonymous = anonymous
    }

    init(
        method: HTTPRequest.Method, target: String, headers: HTTPFields, id: String, peer: String, authority: String?,
        isSecure: Bool, source: BodySource, logger: Logger
    ) {
        self.isSecure = isSecure
        self.authority = authority
        self.method = method
        if let mark = target.utf8.firstIndex(of: UInt8(ascii: "?")) {
            path = String(target[..<mark])
            queryText = String(target[target.utf8.index(after: mark)...])
        } else {
            path = target
            queryText = ""
        }
        self.headers = headers
        self.id = id
        self.peer = peer
        self.source = source
        baseLogger = logger
    }

    /// A logger whose lines carry this request's id.
    public var logger: Logger {
        var logger = baseLogger
        logger[metadataKey: "request"] = .string(id)
        return logger
    }

    /// The first value of a query parameter, decoded; nil if it is missing.
    /// - Throws: 400 if a value's percent-encoding is malformed.
    public func query(_ name: String) throws(HTTPFailure) -> String? {
        try queries(name).first
    }
}

extension Request {
    /// All values of a query parameter that may be given several times, decoded, in their order; one without `=` is
    /// empty.
    /// - Throws: 400 if a value's percent-encoding is malformed.
    public func queries(_ name: String) throws(HTTPFailure) -> [String] {
        var values: [String] = []
        for pair in queryText.utf8.split(separator: UInt8(ascii: "&")) {
            let parts = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            guard let key = parts.first, PercentEncoding.decode(key, plusIsSpace: true) == name else { continue }
            guard let value = parts.count == 2 ? PercentEncoding.decode(parts[1], plusIsSpace: true) : "" else {
                throw HTTPFailure(.badRequest, "the query parameter \(name) is not escaped as it should be")
            }
            values.append(value)
        }
        return values
    }
}

extension Request {
    /// Whether the client has a role everywhere or on this repository.
    public func may(_ role: Role, on repository: String) -> Bool {
        (principal ?? anonymous)?.may(role, on: repository) ?? false
    }

    /// Requires a user, whatever it may do.
    /// - Throws: 401 for clients without credentials.
    @discardableResult
    public func requireUser() throws(HTTPFailure) -> Principal {
        guard let principal else { throw .unauthorized }
        return principal
    }

    /// Requires a role everywhere or on a repository.
    /// - Throws: 401 for clients without credentials that don't have it, 403 for users without it.
    public func require(_ role: Role, on repository: String) throws(HTTPFailure) {
        guard !may(role, on: repository) else { return }
        try requireUser()
        throw .forbidden(role, on: repository)
    }

    /// Requires what a row of `AccessTable` says.
    /// - Parameter repository: the one that the path names; nil if it is not known yet, and not to be checked.
    /// - Throws: 401 for clients that need credentials, 403 for users who may not.
    package func require(_ access: Access, on repository: String? = nil) throws(HTTPFailure) {
        switch access {
        case .open, .anonymous: return
        case .authenticated: try requireUser()
        case .roles(let roles):
            let user = try requireUser()
            guard roles.contains(where: { user.may($0) }) else { throw .forbidden(roles) }
        case .somewhere(let role):
            guard try requireUser().maySomewhere(role) else { throw .forbidden([role]) }
        case .ownCluster:
            guard try requireUser().maySpeak(for: parameters["cluster"]) else { throw .foreignCluster }
        case .repository(let role, let others):
            guard let repository, !others.contains(where: { principal?.may($0) ?? false }) else { return }
            try require(role, on: repository)
        case .droplet(let role): try require(role, on: "cloudfoundry/" + parameters["guid"])
        }
    }
}
