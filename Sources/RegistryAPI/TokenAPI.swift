public import HTTPServer
import HTTPTypes
public import Identity
import JSON
import OCI

/// Where clients are told to fetch tokens.
public struct TokenRealm: Sendable {
    private let publicURL: String?

    /// - Parameter publicURL: how clients call the server, as in `https://registry.example`; nil: as each request did.
    public init(publicURL: String?) { self.publicURL = publicURL }

    /// The challenge that leads a client to a token for what it asked for (RFC 6750, section 3; distribution's token
    /// specification, "How to authenticate"); nil if it is not known how the client calls this server.
    func challenge(for request: Request, _ route: RegistryRoute?) -> String? {
        guard let base = publicURL ?? request.origin else { return nil }
        var parts = ["realm=\"\(base)/token\"", "service=\"\(TokenSigner.service)\""]
        if let scope = Self.scope(of: request, route) { parts.append("scope=\"\(scope)\"") }
        if TokenSigner.isToken(request.authorization ?? "") {
            parts.append("error=\"\(request.scope == nil ? "invalid_token" : "insufficient_scope")\"")
        }
        return "Bearer " + parts.joined(separator: ",")
    }

    private static func scope(of request: Request, _ route: RegistryRoute?) -> String? {
        if route == .catalog { return "registry:catalog:*" }
        guard let route, let name = route.repository else { return nil }
        let actions =
            switch (route, request.method) {
            case (_, .delete): "delete"
            // Asking how far an upload is belongs to pushing.
            case (.uploads, _), (.upload, _): "pull,push"
            case (_, .get), (_, .head): "pull"
            default: "pull,push"
            }
        let scope = "repository:\(name):\(actions)"
        // A blob is mounted from a repository that the token lets its bearer read.
        guard case .uploads = route, let text = (try? request.query("from")) ?? nil,
            let source = try? RepositoryName(parsing: text), source != name
        else { return scope }
        return scope + " repository:\(source):pull"
    }
}

/// The route `/token`: distribution's token specification (GET) and its form for OAuth 2.0 (POST, RFC 6749).
///
/// A token says who fetched it and grants what was asked for, as far as the policy gives it. Refresh tokens, which would
/// live longer, are not given.
public struct TokenAPI: Sendable {
    /// The largest form, in bytes.
    private static let maximumForm: Int64 = 16 << 10

    private let authenticator: any Authenticating

    public init(authenticator: any Authenticating) { self.authenticator = authenticator }

    public var routes: Routes {
        var routes = Routes(errors: RegistryErrors())
        routes.get("/token", execution: .eventLoop) { request in
            try issue(
                to: subject(of: request), service: try request.query("service"), scopes: try request.queries("scope"))
        }
        routes.on(.post, "/token") { request in try await issueByForm(request) }
        return routes
    }

    private func subject(of request: Request) -> TokenSubject {
        guard let user = request.principal else { return .nobody }
        return request.authorization == nil ? .certificate(user.name) : .user(user.name)
    }

    private func issueByForm(_ request: Request) async throws -> Response {
        let bytes = try await request.body(maximum: Self.maximumForm).collect()
        let form = String(decoding: bytes, as: UTF8.self)
        func field(_ name: String) throws -> String? { try Request.values(of: name, in: form).first }
        guard try field("grant_type") == "password" else {
            throw HTTPFailure(.badRequest, "the grant_type must be password: there are no refresh tokens here")
        }
        var subject = subject(of: request)
        let (name, password) = (try field("username") ?? "", try field("password") ?? "")
        if !name.isEmpty || !password.isEmpty {
            let user = try await authenticator.authenticate(
                BasicCredentials.header(name, password), from: request.address)
            guard let user else { throw HTTPFailure.unauthorized }
            subject = .user(user.name)
        }
        return try issue(
            to: subject, service: try field("service"), scopes: try Request.values(of: "scope", in: form))
    }

    private func issue(to subject: TokenSubject, service: String?, scopes: [String]) throws -> Response {
        guard service ?? TokenSigner.service == TokenSigner.service else {
            throw HTTPFailure(.badRequest, "there is one service here: \(TokenSigner.service)")
        }
        guard let scope = TokenScope(parsing: scopes) else {
            throw HTTPFailure(.badRequest, "a token has at most \(TokenScope.maximumCount) scopes")
        }
        guard let token = authenticator.token(for: subject, asking: scope) else {
            throw RegistryFailure.unknownEndpoint
        }
        return .json(
            [
                "token": .string(token.text), "access_token": .string(token.text),
                "expires_in": .integer(TokenSigner.lifetime), "scope": .string(token.scope.text),
            ], headers: [.cacheControl: "no-store"])
    }
}
