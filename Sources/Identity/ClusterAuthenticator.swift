/// Knows the users `cluster/<name>`, whose secrets are kept with the clusters; all others are asked of another
/// authenticator.
///
/// A secret has 256 random bits, so that guessing it needs no limit, and checking it costs a lookup and a hash: nothing
/// is remembered, and a forgotten cluster's credential is refused from that moment on.
public struct ClusterAuthenticator: Authenticating {
    /// What a secret of a cluster is good for: `nil` for nothing, `false` for enrolling alone, `true` for all that an
    /// agent does.
    public typealias Lookup = @Sendable (_ cluster: String, _ secret: String) async throws -> Bool?

    /// What stands before the cluster's name in the name of its user.
    public static let prefix = "cluster/"

    private let users: any Authenticating
    private let lookup: Lookup

    public init(_ users: any Authenticating, lookup: @escaping Lookup) {
        self.users = users
        self.lookup = lookup
    }

    /// What the user of a cluster came with; nil for everybody else.
    package static func secret(of cluster: String, in authorization: String) -> String? {
        guard let credentials = BasicCredentials(authorization),
            credentials.user.utf8.elementsEqual((prefix + cluster).utf8)
        else { return nil }
        return credentials.password
    }

    public func known(_ authorization: String) -> Principal? { users.known(authorization) }

    public func authenticate(_ authorization: String, from address: ClientAddress) async throws -> Principal? {
        guard let credentials = BasicCredentials(authorization), credentials.user.hasPrefix(Self.prefix) else {
            return try await users.authenticate(authorization, from: address)
        }
        let name = String(credentials.user.dropFirst(Self.prefix.count))
        guard let isAgent = try await lookup(name, credentials.password) else {
            // A password file may have such a user too; and what is wrong counts against the address.
            return try await users.authenticate(authorization, from: address)
        }
        return Principal(name: credentials.user, roles: isAgent ? [.cluster] : [], cluster: name)
    }

    public func certified(_ user: String) -> Principal { users.certified(user) }

    public var anonymous: Principal? { users.anonymous }

    public func token(for subject: TokenSubject, asking scope: TokenScope) -> IssuedToken? {
        users.token(for: subject, asking: scope)
    }

    public func bearer(_ authorization: String, certified user: String?) -> TokenBearer? {
        users.bearer(authorization, certified: user)
    }
}
