import JSON

/// Which roles users have: the file `policy.yaml`.
///
///     users:
///       operator:
///         roles: [operator]
///       ci:
///         roles: [push, stage]
///
/// Users that are not named have no role. Unknown keys and roles are errors.
public struct Policy: Hashable, Sendable {
    /// The largest file that is read, in bytes.
    public static let maximumSize = 4 << 20

    /// In byte order of the names when it is written.
    public private(set) var users: [String: Set<Role>] = [:]

    public init() {}

    /// - Throws: `.policy`.
    public init(parsing text: String) throws(AuthenticationError) {
        let document: JSONValue
        do {
            document = try PlainYAML.parse(text)
        } catch {
            throw .policy(line: error.line, reason: error.reason)
        }
        if document == .null { return }
        guard let members = document.object else { throw Self.fault("it is not a mapping with the key 'users'") }
        for (key, value) in members {
            guard key == "users" else { throw Self.fault("'\(key)' is not known; there is only 'users'") }
            if value == .null { continue }
            guard let entries = value.object else { throw Self.fault("'users' is not a mapping of names") }
            for (name, entry) in entries { try set(name, try Self.roles(entry, of: name)) }
        }
    }

    public func roles(of user: String) -> Set<Role> { users[user] ?? [] }

    /// Gives a user other roles; none removes the user.
    /// - Throws: `.userName`.
    public mutating func set(_ user: String, _ roles: Set<Role>) throws(AuthenticationError) {
        guard Htpasswd.isName(user) else { throw .userName(user) }
        users[user] = roles.isEmpty ? nil : roles
    }

    /// As the file has it.
    public var text: String {
        var text = "# Roles: pull, push (pull too), stage, operator (everything).\nusers:\n"
        for (name, roles) in users.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
            text += "  \(JSONValue.string(name).canonicalText):\n"
            text += "    roles: [\(Role.allCases.filter(roles.contains).map(\.rawValue).joined(separator: ", "))]\n"
        }
        return text
    }

    private static func roles(_ entry: JSONValue, of name: String) throws(AuthenticationError) -> Set<Role> {
        guard let members = entry.object else { throw fault("the user '\(name)' is not a mapping with 'roles'") }
        for key in members.keys where key != "roles" {
            throw fault("'\(key)' of the user '\(name)' is not known; there is only 'roles'")
        }
        guard let list = members["roles"]?.array else { throw fault("the user '\(name)' has no list 'roles'") }
        var roles: Set<Role> = []
        for item in list {
            guard let role = item.string.flatMap(Role.init) else {
                let known = Role.allCases.map(\.rawValue).joined(separator: ", ")
                throw fault("the user '\(name)' has a role that is not known; there are \(known)")
            }
            roles.insert(role)
        }
        return roles
    }

    private static func fault(_ reason: String) -> AuthenticationError { .policy(line: 0, reason: reason) }
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
