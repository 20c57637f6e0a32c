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
    /// The client's address as limits count it.
    package let address: ClientAddress
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
            method: method, target: target, headers: headers, id: id, peer: "-", address: .unknown,
            authority: authority,
            isSecure: true, source: .bytes(body), logger: logger)
        self.parameters = Parameters(parameters)
        self.principal = principal
        self.anonymous = anonymous
    }

    init(
        method: HTTPRequest.Method, target: String, headers: HTTPFields, id: String, peer: String,
        address: ClientAddress, authority: String?, isSecure: Bool, source: BodySource, logger: Logger
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
        self.address = address
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
        try Self.values(of: name, in: queryText)
    }

    /// All values of a parameter in a query, or in a form (`application/x-www-form-urlencoded`), as `queries`.
    package static func values(of name: String, in text: String) throws(HTTPFailure) -> [String] {
        var values: [String] = []
        for pair in text.utf8.split(separator: UInt8(ascii: "&")) {
            let parts = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            guard let key = parts.first, PercentEncoding.decode(key, plusIsSpace: true) == name else { continue }
            guard let value = parts.count == 2 ? PercentEncoding.decode(parts[1], plusIsSpace: true) : "" else {
                throw HTTPFailure(.badRequest, "the parameter \(name) is not escaped as it should be")
            }
            values.append(value)
        }
        return values
    }
}

extension Request {
    /// The value of Authorization; nil if there is none, or an empty name with an empty password, which is how some
    /// clients say that they are nobody.
    package var authorization: String? {
        headers[.authorization].flatMap { BasicCredentials.areEmpty($0) ? nil : $0 }
    }

    /// Where this server is, as the client called it: `https://registry.example:8443`; nil if it did not say so, or
    /// not in a form that can stand in a URL.
    package var origin: String? {
        guard let authority, !authority.isEmpty, authority.utf8.count <= 261,
            authority.utf8.allSatisfy({ byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"),
                    UInt8(ascii: ":"), UInt8(ascii: "["), UInt8(ascii: "]"):
                    true
                default: false
                }
            })
        else { return nil }
        return "\(isSecure ? "https" : "http")://\(authority)"
    }

    /// What came with the token that the request was sent with; nil if it was sent without a token, or the token is not
    /// good.
    package var scope: TokenScope? { (principal ?? anonymous)?.scope }
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
    /// - Throws: 401 for clients without credentials that don't have it, and for those whose token does not grant it, 403
    ///   for users without it.
    public func require(_ role: Role, on repository: String) throws(HTTPFailure) {
        try require(role, orEverywhere: [], on: repository)
    }

    private func require(_ role: Role, orEverywhere others: Set<Role>, on repository: String) throws(HTTPFailure) {
        let client = principal ?? anonymous
        guard client?.holds(role, on: repository) ?? false || others.contains(where: { principal?.holds($0) ?? false })
        else {
            try requireUser()
            throw .forbidden(role, on: repository)
        }
        guard client?.scope?.allows(role, on: repository, deletes: method == .delete) ?? true else {
            throw .lesserToken
        }
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
            let user = try requireUser()
            guard user.holdsSomewhere(role) else { throw .forbidden([role]) }
            guard user.scope?.listsCatalog ?? true else { throw .lesserToken }
        case .ownCluster:
            guard try requireUser().maySpeak(for: parameters["cluster"]) else { throw .foreignCluster }
        case .repository(let role, let others):
            guard let repository else { return }
            try require(role, orEverywhere: others, on: repository)
        case .droplet(let role): try require(role, on: "cloudfoundry/" + parameters["guid"])
        }
    }
}
