/// What a user may do; `AccessTable` says with which route.
public enum Role: String, Hashable, Sendable, CaseIterable, Codable, CustomStringConvertible {
    /// Read images and droplets.
    case pull
    /// Write images, and read them.
    case push
    /// What staging jobs do: write droplets.
    case stage
    /// What a cluster's agent does: read manifests, and report what runs in the one cluster that the user is bound to.
    case cluster
    /// Everything.
    case `operator`

    /// The roles that can be given on some repositories only; the others concern more than a repository.
    public static let ofRepositories: [Role] = [.pull, .push]

    public var description: String { rawValue }
}

/// A set of roles, in a byte.
struct RoleSet: OptionSet, Hashable, Sendable {
    let rawValue: UInt8

    static let all = RoleSet(Set(Role.allCases))
}

extension RoleSet {
    init(_ roles: Set<Role>) { self = roles.reduce(into: []) { $0.formUnion($1.bit) } }

    /// The given roles, and those that they include.
    init(including roles: Set<Role>) { self = roles.reduce(into: []) { $0.formUnion($1.included) } }
}

extension Role {
    var bit: RoleSet {
        switch self {
        case .pull: RoleSet(rawValue: 1)
        case .push: RoleSet(rawValue: 2)
        case .stage: RoleSet(rawValue: 4)
        case .operator: RoleSet(rawValue: 8)
        case .cluster: RoleSet(rawValue: 16)
        }
    }

    /// This role, and those that it includes.
    fileprivate var included: RoleSet {
        switch self {
        case .pull, .stage, .cluster: bit
        case .push: [bit, Role.pull.bit]
        case .operator: .all
        }
    }
}
