import JSON

/// Which roles users have: the file `policy.yaml`.
///
///     users:
///       operator:
///         roles: [operator]
///       ci:
///         roles: [stage]
///         repositories:
///           "team-a/**": [push]
///           "base/*": [pull]
///       agent-eu:
///         roles: [cluster]
///         cluster: eu-1
///     anonymous:
///       repositories:
///         "public/**": [pull]
///     quotas:
///       - repositories: "team-a/**"
///         bytes: 100GiB
///
/// Users that are not named have no role. What `anonymous` may do, every user may do too. Unknown keys and roles are
/// errors.
public struct Policy: Hashable, Sendable {
    /// The largest file that is read, in bytes.
    public static let maximumSize = 4 << 20
    /// How many patterns a user may have.
    public static let maximumPatterns = 1000

    /// How many quotas there may be.
    public static let maximumQuotas = 1000

    /// How many bytes the repositories of a pattern may hold together.
    public struct RepositoryQuota: Hashable, Sendable {
        public var repositories: RepositoryPattern
        public var bytes: Int64

        public init(repositories: RepositoryPattern, bytes: Int64) {
            self.repositories = repositories
            self.bytes = bytes
        }
    }

    /// What a user, or everybody, may do.
    public struct Grants: Hashable, Sendable {
        /// The roles that are held everywhere.
        public var roles: Set<Role>
        /// The roles on the repositories of each pattern; only those of `Role.ofRepositories`.
        public var repositories: [RepositoryPattern: Set<Role>]
        /// The cluster that the role `cluster` is for; nil without that role.
        public var cluster: String?

        public init(
            roles: Set<Role> = [], repositories: [RepositoryPattern: Set<Role>] = [:], cluster: String? = nil
        ) {
            self.roles = roles
            self.repositories = repositories
            self.cluster = cluster
        }
    }

    /// What each user may do. The file has them in byte order of their names.
    public internal(set) var users: [UserName: Grants] = [:]
    /// What clients without credentials may do: pull from some repositories, and nothing else.
    public internal(set) var anonymous = Grants()
    /// At most one for each pattern, in the file's order. A repository that several patterns match is held to all of
    /// their quotas.
    public internal(set) var quotas: [RepositoryQuota] = []
    /// The comment lines with which the file begins; if there are none, `ownComment` is written.
    var comment: [String] = []

    public init() {}

    /// The roles that a user has everywhere.
    public func roles(of user: String) -> Set<Role> { users[UserName(user)]?.roles ?? [] }

    /// Replaces the roles that a user has everywhere, and keeps those on repositories. An empty set removes the user.
    /// - Parameter cluster: the cluster that the role `cluster` is for.
    /// - Throws: `.userName`; `.clusterName` for that role without a cluster's name, or a name without that role.
    public mutating func set(
        _ user: String, _ roles: Set<Role>, cluster: String? = nil
    ) throws(AuthenticationError) {
        guard Self.isName(user) else { throw .userName(user) }
        guard roles.contains(.cluster) ? Self.isClusterName(cluster ?? "") : cluster == nil else {
            throw .clusterName(cluster ?? "")
        }
        let user = UserName(user)
        guard !roles.isEmpty else {
            users[user] = nil
            return
        }
        users[user, default: Grants()].roles = roles
        users[user]?.cluster = cluster
    }

    /// A user and what it may do, including what everybody may; nothing more if the policy does not name it.
    func principal(of user: UserName) -> Principal {
        let grants = users[user] ?? Grants()
        let repositories = grants.repositories.merging(anonymous.repositories) { $0.union($1) }
        return Principal(
            name: user.text, roles: grants.roles, repositories: repositories, cluster: grants.cluster)
    }

    /// What clients without credentials may do; nil if that is nothing.
    var anonymousPrincipal: Principal? {
        anonymous.repositories.isEmpty
            ? nil : Principal(name: "anonymous", roles: [], repositories: anonymous.repositories)
    }

    /// Whether a text can be a user's name. Names come from password files and from certificates, where they may be
    /// URIs.
    package static func isName(_ name: String) -> Bool {
        (1...255).contains(name.utf8.count) && name.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
    }

    /// `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`
    static func isClusterName(_ name: String) -> Bool {
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            byte < 0x80 && (Character(Unicode.Scalar(byte)).isLetter || Character(Unicode.Scalar(byte)).isNumber)
        }
        return (1...63).contains(name.utf8.count) && name.utf8.first.map(isAlphanumeric) ?? false
            && name.utf8.allSatisfy { isAlphanumeric($0) || "._-".utf8.contains($0) }
    }

    static let ownComment = [
        "# Roles: pull, push (pull too), stage, cluster (with the key 'cluster'), operator (everything)."
    ]

    /// The policy as the file's text: everything that was read, but of comments only those at the top.
    public var text: String {
        var text = (comment.isEmpty ? Self.ownComment : comment).map { $0 + "\n" }.joined() + "users:\n"
        for (name, grants) in users.sorted(by: { $0.key.text.utf8.lexicographicallyPrecedes($1.key.text.utf8) }) {
            text += "  \(JSONValue.string(name.text).canonicalText):\n"
            if !grants.roles.isEmpty || grants.repositories.isEmpty {
                text += "    roles: \(Self.list(grants.roles))\n"
            }
            if let cluster = grants.cluster { text += "    cluster: \(cluster)\n" }
            text += Self.text(of: grants.repositories, indent: "    ")
        }
        if !anonymous.repositories.isEmpty {
            text += "anonymous:\n" + Self.text(of: anonymous.repositories, indent: "  ")
        }
        if !quotas.isEmpty {
            text += "quotas:\n"
            for quota in quotas {
                text += "  - repositories: \"\(quota.repositories)\"\n    bytes: \(ByteSize(quota.bytes))\n"
            }
        }
        return text
    }

    private static func text(of repositories: [RepositoryPattern: Set<Role>], indent: String) -> String {
        guard !repositories.isEmpty else { return "" }
        let lines = repositories.sorted { $0.key < $1.key }.map { "\(indent)  \"\($0)\": \(list($1))\n" }
        return "\(indent)repositories:\n" + lines.joined()
    }

    private static func list(_ roles: Set<Role>) -> String {
        "[\(Role.allCases.filter(roles.contains).map(\.rawValue).joined(separator: ", "))]"
    }
}

extension Policy {
    /// - Throws: `.file` if it can't be read, `.policy` if it can't be used.
    public init(path: String) throws(AuthenticationError) {
        try self.init(parsing: try PrivateFile.read(path, maximum: Self.maximumSize))
    }

    /// Changes a file as one step, as `Htpasswd.update` does.
    public static func update<Result>(
        _ path: String, _ change: (inout Policy) throws(AuthenticationError) -> Result
    ) throws(AuthenticationError) -> Result {
        try PrivateFile.locked(path) { () throws(AuthenticationError) -> Result in
            var policy = PrivateFile.exists(path) ? try Policy(path: path) : Policy()
            let result = try change(&policy)
            try PrivateFile.write(path, Array(policy.text.utf8))
            return result
        }
    }
}
