/// How much the repositories of certain names may hold together, in logical bytes: each repository counts all its
/// content, even what it shares with others.
public struct Quota: Sendable {
    /// The pattern of the names, as the policy writes it.
    public let repositories: String
    public let bytes: Int64
    let covers: @Sendable (String) -> Bool

    public init(repositories: String, bytes: Int64, covers: @escaping @Sendable (String) -> Bool) {
        self.repositories = repositories
        self.bytes = bytes
        self.covers = covers
    }
}

/// Which limit stood in the way, and by how much.
public struct QuotaDenial: Hashable, Sendable, CustomStringConvertible {
    /// The quota's repositories; nil: the limit of the whole store.
    public let repositories: String?
    /// In bytes, like the following numbers.
    public let limit: Int64
    public let used: Int64
    /// Held for uploads under way, including what the refused upload holds already.
    public let reserved: Int64
    /// How much more the refused upload asked for.
    public let asked: Int64

    public var description: String {
        let whose = repositories.map { "the quota of '\($0)'" } ?? "the store's limit"
        return "\(whose) is \(limit) bytes: \(used) are used, \(reserved) are held for uploads under way, and this "
            + "needs \(asked) more. Delete what is not needed, or have the limit raised"
    }
}

/// How much of each limit is used.
public struct QuotaUsage: Sendable {
    /// Of one limit, in bytes.
    public struct Total: Hashable, Sendable {
        /// nil: no limit.
        public let limit: Int64?
        /// nil: not counted yet.
        public let used: Int64?
        /// Held for uploads under way.
        public let reserved: Int64
        /// Requests that were refused since the limit is in force.
        public let denied: Int
    }

    /// A repository and what it holds, in logical bytes.
    public struct Holder: Hashable, Sendable {
        public let repository: String
        public let bytes: Int64
    }

    /// A completed count.
    public struct Count: Hashable, Sendable {
        /// When the count ended, in nanoseconds since 1970.
        public let ended: Int64
        public let duration: Duration
        /// Repositories that hold something.
        public let repositories: Int
        /// The sum over all repositories, in logical bytes.
        public let logicalBytes: Int64
        /// The bytes of the content in the store.
        public let storeBytes: Int64
        /// The repositories that hold most, the largest first.
        public let largest: [Holder]
    }

    public let store: Total
    /// One per quota, in the policy's order.
    public let quotas: [(repositories: String, total: Total)]
    public let count: Count?
    public let isCounting: Bool
}
