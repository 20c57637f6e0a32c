/// What a user may do.
public enum Role: String, Hashable, Sendable, CaseIterable, Codable, CustomStringConvertible {
    /// Read images and droplets.
    case pull
    /// Write images and droplets.
    case push
    /// What staging jobs do: read bits, write droplets and caches.
    case stage
    /// Everything.
    case `operator`

    public var description: String { rawValue }

    /// What having this role includes.
    var included: Set<Role> {
        switch self {
        case .pull: [.pull]
        case .push: [.push, .pull]
        case .stage: [.stage]
        case .operator: Set(Role.allCases)
        }
    }
}

/// A known user and what it may do.
public struct Principal: Hashable, Sendable {
    public let name: String
    public let roles: Set<Role>
    private let allowed: Set<Role>

    public init(name: String, roles: Set<Role>) {
        self.name = name
        self.roles = roles
        allowed = roles.reduce(into: []) { $0.formUnion($1.included) }
    }

    public func may(_ role: Role) -> Bool { allowed.contains(role) }
}
