/// Which clients a route answers. There is no default: each route has a row in `AccessTable`.
///
/// A request's user is the one of its Authorization header, or else the one that the client's certificate names. On
/// routes that take them, a signed URL counts after the header and before the certificate.
public enum Access: Hashable, Sendable {
    /// Everybody, without asking who it is.
    case open
    /// Everybody, also clients without credentials: the route itself checks what they may do. Invalid credentials are
    /// refused all the same.
    case anonymous
    /// Every known user.
    case authenticated
    /// Users who have one of these roles everywhere.
    case roles(Set<Role>)
    /// Users who have a role on at least one repository.
    case somewhere(Role)
    /// The user who is bound to the cluster that the path names, and operators.
    case ownCluster
    /// Clients that have a role on the repository that the path names, and users who have one of the other roles. What
    /// the policy gives to everybody counts too.
    case repository(Role, orRoles: Set<Role> = [])
    /// Clients that have a role on the droplet's repository, `cloudfoundry/<guid>`.
    case droplet(Role)

    package static func role(_ role: Role) -> Access { .roles([role]) }

    /// Whether clients without credentials may be answered.
    package var answersAnonymous: Bool {
        switch self {
        case .open, .anonymous, .repository, .droplet: true
        case .authenticated, .roles, .somewhere, .ownCluster: false
        }
    }

    /// The roles of which one is enough, in `Role`'s order; empty where none is needed. It may be enough to have one
    /// for a single cluster or repository.
    package var roles: [Role] {
        let direct: Set<Role> =
            switch self {
            case .open, .anonymous, .authenticated: []
            case .roles(let roles): roles
            case .ownCluster: [.cluster]
            case .repository(let role, let others): others.union([role])
            case .droplet(let role), .somewhere(let role): [role]
            }
        return Role.allCases.filter { !RoleSet(including: [$0]).isDisjoint(with: RoleSet(direct)) }
    }
}

/// Who may use which route: a row for each route of every API.
///
/// `Routes` finds here what a route asks for, and a server does not start with a route that has no row.
public struct AccessTable: Sendable {
    public struct Row: Hashable, Sendable {
        /// The method, or `*` for all. A row for GET is also for HEAD.
        public let method: String
        /// As in `RoutePattern`; a repository's name may have several components.
        public let pattern: String
        public let access: Access
        /// Whether a signed URL may stand in for a user (`URLSigner`).
        public let takesSignatures: Bool
        /// Whether a token says who the user is (`TokenSigner`).
        public let takesTokens: Bool

        package init(
            _ method: String, _ pattern: String, _ access: Access, takesSignatures: Bool = false,
            takesTokens: Bool = false
        ) {
            self.method = method
            self.pattern = pattern
            self.access = access
            self.takesSignatures = takesSignatures
            self.takesTokens = takesTokens
        }

        /// A row whose requests may also be signed.
        static func signable(_ method: String, _ pattern: String, _ access: Access) -> Row {
            Row(method, pattern, access, takesSignatures: true)
        }
    }

    public let rows: [Row]
    private let rowsByName: [String: Row]

    package init(_ rows: [Row]) {
        self.rows = rows
        rowsByName = Dictionary(
            rows.map { ("\($0.method) \($0.pattern)", $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// - Returns: nil if there is no such row.
    package func row(_ method: String, _ pattern: String) -> Row? { rowsByName["\(method) \(pattern)"] }

    /// What a row asks for; nil if there is no such row.
    package func access(_ method: String, _ pattern: String) -> Access? { row(method, pattern)?.access }

    /// The rows of all routes.
    ///
    /// Staging jobs write droplets, packages and build caches, and read all bits but droplets; buildpacks, which run in
    /// every build, are written by operators alone, and so are all deletions. A droplet can be read by users who may pull its image, and deleted by operators
    /// alone, since apps may run from it. URLs are signed for whoever may use them, and never for DELETE. A cluster's
    /// agent reads manifests, to resolve tags, and reports what runs in its own cluster.
    public static let cistern = AccessTable(platform + registry + bits + staging + operators)

    private static let platform = [
        Row("GET", "/healthz", .open),
        Row("GET", "/readyz", .open),
        // Tokens for the routes below /v2/, which grant what their holder may do without one.
        Row("GET", "/token", .anonymous),
        Row("POST", "/token", .anonymous),
    ]

    private static let registry = [
        // This route dispatches to the following ones.
        Row("*", "/v2/**", .anonymous, takesTokens: true),
        Row("GET", "/v2/", .authenticated),
        Row("GET", "/v2/_catalog", .somewhere(.pull)),
        Row("GET", "/v2/:name/manifests/:reference", .repository(.pull, orRoles: [.cluster])),
        Row("PUT", "/v2/:name/manifests/:reference", .repository(.push)),
        Row("DELETE", "/v2/:name/manifests/:reference", .repository(.push)),
        Row("GET", "/v2/:name/blobs/:digest", .repository(.pull)),
        Row("DELETE", "/v2/:name/blobs/:digest", .repository(.push)),
        Row("POST", "/v2/:name/blobs/uploads/", .repository(.push)),
        Row("GET", "/v2/:name/blobs/uploads/:id", .repository(.push)),
        Row("PATCH", "/v2/:name/blobs/uploads/:id", .repository(.push)),
        Row("PUT", "/v2/:name/blobs/uploads/:id", .repository(.push)),
        Row("DELETE", "/v2/:name/blobs/uploads/:id", .repository(.push)),
        Row("GET", "/v2/:name/tags/list", .repository(.pull)),
        Row("GET", "/v2/:name/referrers/:digest", .repository(.pull)),
    ]

    // A signed URL is 403 for DELETE as for any method that it is not for: no signature is good for that one.
    private static let bits = [
        Row("GET", "/sign/**", .authenticated),
        .signable("PUT", "/droplets/:guid", .role(.stage)),
        .signable("PUT", "/droplets/:guid/:hash", .role(.stage)),
        .signable("GET", "/droplets/:guid/:hash", .droplet(.pull)),
        .signable("DELETE", "/droplets/:guid/:hash", .role(.operator)),
        .signable("PUT", "/packages/:guid", .role(.stage)),
        .signable("GET", "/packages/:guid", .role(.stage)),
        .signable("DELETE", "/packages/:guid", .role(.operator)),
        Row("GET", "/buildpacks", .role(.stage)),
        .signable("POST", "/buildpacks", .role(.operator)),
        .signable("POST", "/buildpacks/", .role(.operator)),
        .signable("PUT", "/buildpacks/:guid", .role(.operator)),
        .signable("GET", "/buildpacks/:guid", .role(.stage)),
        .signable("DELETE", "/buildpacks/:guid", .role(.operator)),
        Row("GET", "/buildpacks/:guid/metadata", .role(.stage)),
        .signable("PUT", "/buildpack_cache/entries/:guid/:stack", .role(.stage)),
        .signable("GET", "/buildpack_cache/entries/:guid/:stack", .role(.stage)),
        .signable("DELETE", "/buildpack_cache/entries/:guid/:stack", .role(.operator)),
        .signable("DELETE", "/buildpack_cache/entries/:guid", .role(.operator)),
        .signable("DELETE", "/buildpack_cache/entries", .role(.operator)),
        .signable("DELETE", "/buildpack_cache/entries/", .role(.operator)),
        .signable("POST", "/app_stash/matches", .role(.stage)),
        Row("POST", "/app_stash/entries", .role(.stage)),
        Row("POST", "/app_stash/bundles", .role(.stage)),
    ]

    private static let staging = [
        Row("POST", "/stage/:guid", .role(.stage)),
        .signable("PUT", "/stage/:guid/completed", .role(.stage)),
        Row("GET", "/stage/:guid", .role(.stage)),
        Row("GET", "/stage/:guid/log", .role(.stage)),
        Row("DELETE", "/stage/:guid", .role(.stage)),
    ]

    private static let operators = [
        Row("GET", "/api/v1/openapi.json", .authenticated),
        Row("GET", "/api/v1/pins", .role(.operator)),
        Row("GET", "/api/v1/pins/:cluster", .ownCluster),
        Row("POST", "/api/v1/pins/:cluster", .ownCluster),
        Row("DELETE", "/api/v1/pins/:cluster", .ownCluster),
        Row("GET", "/api/v1/events", .role(.operator)),
        Row("GET", "/api/v1/clusters", .role(.operator)),
        Row("PUT", "/api/v1/clusters/:cluster", .role(.operator)),
        Row("GET", "/api/v1/clusters/:cluster", .ownCluster),
        Row("DELETE", "/api/v1/clusters/:cluster", .role(.operator)),
        Row("PUT", "/api/v1/clusters/:cluster/state", .ownCluster),
        // For those who come with an enrolment secret, who may do nothing else, and for agents: the route looks whose
        // it is.
        Row("POST", "/api/v1/clusters/:cluster/credential", .authenticated),
        Row("GET", "/api/v1/droplets", .role(.operator)),
        Row("GET", "/api/v1/droplets/:guid", .role(.operator)),
        Row("GET", "/api/v1/droplets/:guid/:hash", .role(.operator)),
        Row("GET", "/api/v1/rootfs", .role(.operator)),
        Row("GET", "/api/v1/rootfs/:stack", .role(.operator)),
        Row("GET", "/api/v1/rootfs/:stack/current", .role(.operator)),
        Row("PUT", "/api/v1/rootfs/:stack/current", .role(.operator)),
        Row("POST", "/api/v1/rootfs/:stack/rollback", .role(.operator)),
        Row("GET", "/api/v1/rootfs/:stack/:version", .role(.operator)),
        Row("PUT", "/api/v1/rootfs/:stack/:version", .role(.operator)),
        Row("DELETE", "/api/v1/rootfs/:stack/:version", .role(.operator)),
        Row("PUT", "/api/v1/rootfs/:stack/:version/state", .role(.operator)),
        Row("GET", "/api/v1/rootfs/:stack/:version/export", .role(.operator)),
        Row("GET", "/api/v1/rootfs/:stack/:version/prepull", .role(.operator)),
        Row("GET", "/api/v1/rootfs/:stack/:version/packages", .role(.operator)),
        Row("GET", "/api/v1/rootfs/:stack/:version/diff", .role(.operator)),
        Row("GET", "/api/v1/rootfs/:stack/:version/delta", .role(.operator)),
        Row("POST", "/api/v1/rootfs/:stack/:version/delta", .role(.operator)),
        Row("GET", "/api/v1/gc", .role(.operator)),
        Row("POST", "/api/v1/gc", .role(.operator)),
        Row("GET", "/api/v1/verify", .role(.operator)),
        Row("POST", "/api/v1/verify", .role(.operator)),
        Row("GET", "/api/v1/usage", .role(.operator)),
        Row("POST", "/api/v1/usage", .role(.operator)),
        Row("GET", "/api/v1/operations", .role(.operator)),
        Row("GET", "/api/v1/operations/:id", .role(.operator)),
        Row("POST", "/api/v1/operations/:id/cancel", .role(.operator)),
        Row("GET", "/api/v1/overview", .role(.operator)),
    ]
}
