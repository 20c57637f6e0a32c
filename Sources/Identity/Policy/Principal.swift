import JSON

/// A known user and what it may do: everywhere, or on the repositories of some patterns.
public struct Principal: Hashable, Sendable {
    private struct Grant: Hashable, Sendable {
        let pattern: RepositoryPattern
        let allowed: RoleSet
    }

    public private(set) var name: String
    /// The roles that the user has everywhere.
    public let roles: Set<Role>
    /// The cluster that a user of the role `cluster` is bound to.
    public let cluster: String?
    private let everywhere: RoleSet
    private let somewhere: RoleSet
    private let grants: [Grant]

    public init(
        name: String, roles: Set<Role>, repositories: [RepositoryPattern: Set<Role>] = [:], cluster: String? = nil
    ) {
        self.name = name
        self.cluster = cluster
        self.roles = roles
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

    /// Whether the user has a role everywhere.
    public func may(_ role: Role) -> Bool { everywhere.contains(role.bit) }

    /// Whether the user has a role everywhere or on this repository.
    public func may(_ role: Role, on repository: String) -> Bool {
        let bit = role.bit
        if everywhere.contains(bit) { return true }
        guard somewhere.contains(bit) else { return false }
        return grants.contains { $0.allowed.contains(bit) && $0.pattern.matches(repository) }
    }

    /// Whether the user may report and ask what runs in a cluster. Names are compared by their bytes: one that only
    /// looks alike is another cluster.
    package func maySpeak(for cluster: String) -> Bool {
        may(.operator) || may(.cluster) && self.cluster?.utf8.elementsEqual(cluster.utf8) ?? false
    }

    /// Whether the user has a role everywhere, or on the repositories of some pattern.
    public func maySomewhere(_ role: Role) -> Bool { somewhere.contains(role.bit) }
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
/// another user.
public struct UserName: Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
    private let name: ExactText

    public var text: String { name.text }

    public init(_ text: String) { name = ExactText(text) }
    public init(stringLiteral text: String) { self.init(text) }

    public var description: String { text }
}
