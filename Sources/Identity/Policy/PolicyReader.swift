import JSON

extension Policy {
    /// - Throws: `.policy`, with the line where there is one.
    public init(parsing text: String) throws(AuthenticationError) {
        let document: PlainYAML.Document
        do {
            document = try PlainYAML.document(text)
        } catch {
            throw .policy(line: error.line, reason: error.reason)
        }
        self = try PolicyReader(document: document).policy()
        let comment = text.split(separator: "\n").map { $0.hasSuffix("\r") ? $0.dropLast() : $0 }
            .prefix { $0.hasPrefix("#") }.map(String.init)
        self.comment = comment == Self.ownComment ? [] : comment
    }
}

/// Makes a policy of what was written. A top-level key has a function of its own and a line in `policy`.
private struct PolicyReader {
    private typealias Path = [String]

    let document: PlainYAML.Document

    func policy() throws(AuthenticationError) -> Policy {
        var policy = Policy()
        for (key, value) in try members(document.value, [], "it is not a mapping with the key 'users'") {
            switch key {
            case "users": policy.users = try users(value)
            case "anonymous": policy.anonymous = try anonymous(value)
            case "quotas": policy.quotas = try quotas(value)
            default: throw fault([key], "'\(key)' is not known; there are 'users', 'anonymous' and 'quotas'")
            }
        }
        return policy
    }

    private func users(_ value: JSONValue) throws(AuthenticationError) -> [String: Policy.Grants] {
        var users: [String: Policy.Grants] = [:]
        for (name, entry) in try members(value, ["users"], "'users' is not a mapping of names") {
            let path = ["users", name]
            guard Policy.isName(name) else { throw fault(path, "a user's name can't be used") }
            guard entry != .null else { throw fault(path, "the user '\(name)' has neither 'roles' nor 'repositories'") }
            users[name] = try grants(entry, path, of: "the user '\(name)'", keys: ["roles", "repositories"])
        }
        return users
    }

    private func anonymous(_ value: JSONValue) throws(AuthenticationError) -> Policy.Grants {
        let grants = try grants(value, ["anonymous"], of: "'anonymous'", keys: ["repositories"])
        for (pattern, roles) in grants.repositories where roles != [.pull] {
            throw fault(
                ["anonymous", "repositories", pattern.description], "'anonymous' can be given nothing but pull")
        }
        return grants
    }

    private func quotas(_ value: JSONValue) throws(AuthenticationError) -> [Policy.RepositoryQuota] {
        if value == .null { return [] }
        guard let list = value.array else {
            throw fault(["quotas"], "'quotas' is not a list, as in - {repositories: \"team-a/**\", bytes: 100GiB}")
        }
        guard list.count <= Policy.maximumQuotas else {
            throw fault(["quotas"], "there are more than \(Policy.maximumQuotas) quotas")
        }
        var quotas: [Policy.RepositoryQuota] = []
        for (index, item) in list.enumerated() {
            let path = ["quotas", String(index)]
            let quota = try quota(item, path, "the quota number \(index + 1)")
            guard !quotas.contains(where: { $0.repositories == quota.repositories }) else {
                throw fault(path, "'\(quota.repositories)' has two quotas")
            }
            quotas.append(quota)
        }
        return quotas
    }

    private func quota(
        _ value: JSONValue, _ path: Path, _ which: String
    ) throws(AuthenticationError) -> Policy.RepositoryQuota {
        let members = value.object ?? [:]
        guard Set(members.keys) == ["repositories", "bytes"] else {
            throw fault(path, "\(which) has not just the keys 'repositories' and 'bytes'")
        }
        let pattern: RepositoryPattern
        do {
            pattern = try RepositoryPattern(members["repositories"]?.string ?? "")
        } catch {
            throw fault(path + ["repositories"], "the pattern of \(which) can't be used: \(error.reason)")
        }
        let text = members["bytes"]?.string ?? members["bytes"]?.integer.map { String($0) } ?? ""
        guard let size = ByteSize(parsing: text) else {
            throw fault(path + ["bytes"], "the bytes of \(which) are no size, as in 1000, 512MiB or 100GiB")
        }
        return Policy.RepositoryQuota(repositories: pattern, bytes: size.bytes)
    }

    // MARK: what users and the anonymous have in common

    private func grants(
        _ value: JSONValue, _ path: Path, of whom: String, keys: [String]
    ) throws(AuthenticationError) -> Policy.Grants {
        var grants = Policy.Grants()
        for (key, value) in try members(value, path, "\(whom) is not a mapping") {
            guard keys.contains(key) else {
                let known = keys.map { "'\($0)'" }.joined(separator: " and ")
                throw fault(path + [key], "'\(key)' of \(whom) is not known; there is only \(known)")
            }
            if key == "roles" {
                grants.roles = try roles(value, path + [key], of: whom, Role.allCases)
            } else {
                grants.repositories = try repositories(value, path + [key], of: whom)
            }
        }
        return grants
    }

    private func repositories(
        _ value: JSONValue, _ path: Path, of whom: String
    ) throws(AuthenticationError) -> [RepositoryPattern: Set<Role>] {
        var repositories: [RepositoryPattern: Set<Role>] = [:]
        for (text, list) in try members(value, path, "'repositories' of \(whom) is not a mapping of patterns") {
            let path = path + [text]
            guard repositories.count < Policy.maximumPatterns else {
                throw fault(path, "\(whom) has more than \(Policy.maximumPatterns) patterns")
            }
            let pattern: RepositoryPattern
            do {
                pattern = try RepositoryPattern(text)
            } catch {
                throw fault(path, "the pattern '\(text.prefix(64))' of \(whom) can't be used: \(error.reason)")
            }
            let roles = try roles(list, path, of: "'\(pattern)' of \(whom)", Role.ofRepositories)
            guard !roles.isEmpty else { throw fault(path, "'\(pattern)' of \(whom) has no roles") }
            repositories[pattern] = roles
        }
        return repositories
    }

    private func roles(
        _ value: JSONValue, _ path: Path, of whom: String, _ known: [Role]
    ) throws(AuthenticationError) -> Set<Role> {
        guard let list = value.array else { throw fault(path, "\(whom) has no list of roles, as in [pull]") }
        var roles: Set<Role> = []
        for item in list {
            guard let role = item.string.flatMap(Role.init), known.contains(role) else {
                let names = known.map(\.rawValue).joined(separator: ", ")
                throw fault(path, "\(whom) has a role that is not known here; there are \(names)")
            }
            roles.insert(role)
        }
        return roles
    }

    // MARK: documents

    /// A mapping's members in the order of the file; none for nothing.
    private func members(
        _ value: JSONValue, _ path: Path, _ reason: String
    ) throws(AuthenticationError) -> [(key: String, value: JSONValue)] {
        if value == .null { return [] }
        guard let members = value.object else { throw fault(path, reason) }
        return members.sorted {
            (document.line(of: path + [$0.key]), $0.key) < (document.line(of: path + [$1.key]), $1.key)
        }
    }

    private func fault(_ path: Path, _ reason: String) -> AuthenticationError {
        .policy(line: document.line(of: path), reason: reason)
    }
}
