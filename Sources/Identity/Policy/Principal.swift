/// A known user and what it may do: everywhere, or on the repositories of some patterns.
public struct Principal: Hashable, Sendable {
    private struct Grant: Hashable, Sendable {
        let pattern: RepositoryPattern
        let allowed: RoleSet
    }

    public private(set) var name: String
    private let everywhereRoles: Set<Role>
    /// The cluster that a user of the role `cluster` is bound to.
    public let cluster: String?
    private let everywhere: RoleSet
    private let somewhere: RoleSet
    private let grants: [Grant]
    /// What the token grants that the user came with; nil for users who came with a password or a certificate, who may
    /// do all that the policy gives them.
    package private(set) var scope: TokenScope?

    public init(
        name: String, roles: Set<Role>, repositories: [RepositoryPattern: Set<Role>] = [:], cluster: String? = nil
    ) {
        self.name = name
        self.cluster = cluster
        everywhereRoles = roles
        let everywhere = RoleSet(including: roles)
        // Roles that are held everywhere need not be looked for by repository.
        let grants = repositories.map { Grant(pattern: $0, allowed: RoleSet(including: $1).subtracting(everywhere)) }
            .filter { !$0.allowed.isEmpty }.sorted { $0.pattern < $1.pattern }
        self.everywhere = everywhere
        self.grants = grants
        somewhere = grants.reduce(into: everywhere) { $0.formUnion($1.allowed) }
    }

    /// A user of another name who may do the same.
    func named(_ name: String) -> Principal {
        var other = self
        other.name = name
        return other
    }

    /// The same user with a token: no role is held everywhere, and those on repositories only as far as the token says.
    func with(_ scope: TokenScope) -> Principal {
        var other = self
        other.scope = scope
        return other
    }

    /// The roles that the user has everywhere.
    public var roles: Set<Role> { scope == nil ? everywhereRoles : [] }

    /// Whether the user has a role everywhere.
    public func may(_ role: Role) -> Bool { scope == nil && holds(role) }

    /// Whether the user has a role everywhere or on this repository.
    public func may(_ role: Role, on repository: String) -> Bool {
        holds(role, on: repository) && scope?.allows(role, on: repository) ?? true
    }

    /// Whether the policy gives the user a role everywhere, whatever a token says.
    package func holds(_ role: Role) -> Bool { everywhere.contains(role.bit) }

    /// Whether the policy gives the user a role everywhere or on this repository, whatever a token says.
    package func holds(_ role: Role, on repository: String) -> Bool {
        let bit = role.bit
        if everywhere.contains(bit) { return true }
        guard somewhere.contains(bit) else { return false }
        return grants.contains { $0.allowed.contains(bit) && $0.pattern.matches(repository) }
    }

    /// Whether the policy gives the user a role everywhere, or on the repositories of some pattern, whatever a token
    /// says.
    package func holdsSomewhere(_ role: Role) -> Bool { somewhere.contains(role.bit) }

    /// Whether the user may report and ask what runs in a cluster. Names are compared by their bytes: one that only
    /// looks alike is another cluster.
    package func maySpeak(for cluster: String) -> Bool {
        may(.operator) || may(.cluster) && self.cluster?.utf8.elementsEqual(cluster.utf8) ?? false
    }
}

/// A policy's users as requests see them, made once.
struct Principals: Sendable {
    let anonymous: Principal?
    private let named: [UserName: Principal]

    init(_ policy: Policy) {
        anonymous = policy.anonymousPrincipal
        named = Dictionary(uniqueKeysWithValues: policy.users.keys.map { ($0, policy.principal(of: $0)) })
    }

    /// A user that the policy does not name may only do what everybody may.
    subscript(name: String) -> Principal {
        named[UserName(name)] ?? anonymous?.named(name) ?? Principal(name: name, roles: [])
    }
}

/// A user's name. Names are told apart by their bytes: one that only looks alike (`é` as one character and as two) is
/// another user, though the `String`s are equal.
public struct UserName: Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
    public let text: String

    public init(_ text: String) { self.text = text }
    public init(stringLiteral text: String) { self.text = text }

    public var description: String { text }

    public static func == (one: UserName, other: UserName) -> Bool { one.text.utf8.elementsEqual(other.text.utf8) }

    public func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}
