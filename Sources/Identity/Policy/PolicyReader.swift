import Yams

extension Policy {
    /// - Throws: `.policy`, with the line where there is one.
    public init(parsing text: String) throws(AuthenticationError) {
        let reader = try PolicyReader(text)
        // The nodes find their anchors in the parser, so it must live while they are read.
        self = try withExtendedLifetime(reader.parser) { () throws(AuthenticationError) in try reader.policy() }
        let comment = text.split(separator: "\n").map { $0.hasSuffix("\r") ? $0.dropLast() : $0 }
            .prefix { $0.hasPrefix("#") }.map(String.init)
        self.comment = comment == Self.ownComment ? [] : comment
    }
}

/// Makes a policy of a file's text. Each top-level key has a function of its own and a line in `policy`.
private struct PolicyReader {
    /// A value and the line that errors name: that of its key, or an item's own.
    private struct Entry {
        let node: Node
        let line: Int
    }

    let parser: Parser

    init(_ text: String) throws(AuthenticationError) {
        guard Self.aliases(in: text) <= Self.maximumAliases else {
            throw .policy(line: 0, reason: "anchors and aliases can't be used")
        }
        do {
            parser = try Parser(
                yaml: Self.joiningSurrogates(text), resolver: .default, constructor: .default, encoding: .utf8)
        } catch { throw Self.fault(error) }
    }

    func policy() throws(AuthenticationError) -> Policy {
        var policy = Policy()
        guard let document = try document() else { return policy }
        for (key, value) in try members(document, "it is not a mapping with the key 'users'") {
            switch key {
            case "users": policy.users = try users(value)
            case "anonymous": policy.anonymous = try anonymous(value)
            case "quotas": policy.quotas = try quotas(value)
            default: throw fault(value, "'\(key)' is not known; there are 'users', 'anonymous' and 'quotas'")
            }
        }
        return policy
    }

    private func users(_ value: Entry) throws(AuthenticationError) -> [UserName: Policy.Grants] {
        var users: [UserName: Policy.Grants] = [:]
        for (name, entry) in try members(value, "'users' is not a mapping of names") {
            guard Policy.isName(name) else { throw fault(entry, "a user's name can't be used") }
            guard !isNull(entry) else {
                throw fault(entry, "the user '\(name)' has neither 'roles' nor 'repositories'")
            }
            let grants = try grants(entry, of: "the user '\(name)'", keys: ["roles", "repositories", "cluster"])
            guard grants.roles.contains(.cluster) == (grants.cluster != nil) else {
                throw fault(
                    entry, "the user '\(name)' has only one of the role cluster and the key 'cluster', with its name")
            }
            users[UserName(name)] = grants
        }
        return users
    }

    private func anonymous(_ value: Entry) throws(AuthenticationError) -> Policy.Grants {
        try grants(value, of: "'anonymous'", keys: ["repositories"]) { roles in
            roles == [.pull] ? nil : "'anonymous' can be given nothing but pull"
        }
    }

    private func quotas(_ value: Entry) throws(AuthenticationError) -> [Policy.RepositoryQuota] {
        if isNull(value) { return [] }
        guard let list = try items(value) else {
            throw fault(value, "'quotas' is not a list, as in - {repositories: \"team-a/**\", bytes: 100GiB}")
        }
        guard list.count <= Policy.maximumQuotas else {
            throw fault(value, "there are more than \(Policy.maximumQuotas) quotas")
        }
        var quotas: [Policy.RepositoryQuota] = []
        for (index, item) in list.enumerated() {
            let quota = try quota(item, "the quota number \(index + 1)")
            guard !quotas.contains(where: { $0.repositories == quota.repositories }) else {
                throw fault(item, "'\(quota.repositories)' has two quotas")
            }
            quotas.append(quota)
        }
        return quotas
    }

    private func quota(_ value: Entry, _ which: String) throws(AuthenticationError) -> Policy.RepositoryQuota {
        let wrong = "\(which) has not just the keys 'repositories' and 'bytes'"
        let members = Dictionary(try members(value, wrong)) { first, _ in first }
        guard let repositories = members["repositories"], let bytes = members["bytes"], members.count == 2 else {
            throw fault(value, wrong)
        }
        let pattern: RepositoryPattern
        do {
            pattern = try RepositoryPattern(repositories.node.scalar?.string ?? "")
        } catch {
            throw fault(repositories, "the pattern of \(which) can't be used: \(error.reason)")
        }
        guard let size = ByteSize(parsing: bytes.node.scalar?.string ?? "") else {
            throw fault(bytes, "the bytes of \(which) are no size, as in 1000, 512MiB or 100GiB")
        }
        return Policy.RepositoryQuota(repositories: pattern, bytes: size.bytes)
    }

    // MARK: what users and `anonymous` have in common

    /// Reads what a user, or everybody, may do.
    /// - Parameter refuse: returns why these roles can't be given; nil if they can.
    private func grants(
        _ value: Entry, of whom: String, keys: [String],
        refuse: (Set<Role>) -> String? = { _ in nil }
    ) throws(AuthenticationError) -> Policy.Grants {
        var grants = Policy.Grants()
        for (key, value) in try members(value, "\(whom) is not a mapping") {
            guard keys.contains(key) else {
                let known = keys.map { "'\($0)'" }.joined(separator: " and ")
                throw fault(value, "'\(key)' of \(whom) is not known; there is only \(known)")
            }
            switch key {
            case "roles": grants.roles = try roles(value, of: whom, Role.allCases)
            case "cluster":
                guard let name = value.node.scalar?.string, Policy.isClusterName(name) else {
                    throw fault(value, "'cluster' of \(whom) is no cluster's name, [A-Za-z0-9][A-Za-z0-9._-]{0,62}")
                }
                grants.cluster = name
            default: grants.repositories = try repositories(value, of: whom, refuse)
            }
        }
        return grants
    }

    private func repositories(
        _ value: Entry, of whom: String, _ refuse: (Set<Role>) -> String?
    ) throws(AuthenticationError) -> [RepositoryPattern: Set<Role>] {
        var repositories: [RepositoryPattern: Set<Role>] = [:]
        for (text, list) in try members(value, "'repositories' of \(whom) is not a mapping of patterns") {
            guard repositories.count < Policy.maximumPatterns else {
                throw fault(list, "\(whom) has more than \(Policy.maximumPatterns) patterns")
            }
            let pattern: RepositoryPattern
            do {
                pattern = try RepositoryPattern(text)
            } catch {
                throw fault(list, "the pattern '\(text.prefix(64))' of \(whom) can't be used: \(error.reason)")
            }
            let roles = try roles(list, of: "'\(pattern)' of \(whom)", Role.ofRepositories)
            guard !roles.isEmpty else { throw fault(list, "'\(pattern)' of \(whom) has no roles") }
            if let reason = refuse(roles) { throw fault(list, reason) }
            repositories[pattern] = roles
        }
        return repositories
    }

    private func roles(_ value: Entry, of whom: String, _ known: [Role]) throws(AuthenticationError) -> Set<Role> {
        guard let list = try items(value) else { throw fault(value, "\(whom) has no list of roles, as in [pull]") }
        var roles: Set<Role> = []
        for item in list {
            guard let role = item.node.scalar.flatMap({ Role(rawValue: $0.string) }), known.contains(role) else {
                let names = known.map(\.rawValue).joined(separator: ", ")
                throw fault(value, "\(whom) has a role that is not known here; there are \(names)")
            }
            roles.insert(role)
        }
        return roles
    }

    // MARK: YAML

    /// JSON writes characters beyond U+FFFF as two escapes of UTF-16 (RFC 8259, section 7), which YAML does not know:
    /// in a file that begins as JSON does, they become one escape. Line numbers stay the same.
    static func joiningSurrogates(_ text: String) -> String {
        let bytes = Array(text.utf8)
        guard bytes.first(where: { !" \t\r\n".utf8.contains($0) }) == UInt8(ascii: "{") else { return text }
        func unit(at index: Int) -> UInt32? {
            guard index + 6 <= bytes.count, bytes[index] == UInt8(ascii: "\\"), bytes[index + 1] == UInt8(ascii: "u")
            else { return nil }
            return UInt32(String(decoding: bytes[index + 2..<index + 6], as: UTF8.self), radix: 16)
        }
        var joined: [UInt8] = []
        joined.reserveCapacity(bytes.count)
        var index = 0
        while index < bytes.count {
            if let high = unit(at: index), (0xD800..<0xDC00).contains(high), let low = unit(at: index + 6),
                (0xDC00..<0xE000).contains(low)
            {
                let scalar = 0x10000 + (high - 0xD800) << 10 + (low - 0xDC00)
                let digits = String(scalar, radix: 16)
                joined += Array("\\U\(String(repeating: "0", count: 8 - digits.count))\(digits)".utf8)
                index += 12
            } else {
                // A backslash that is escaped itself must not be taken for the beginning of another escape.
                let count = bytes[index] == UInt8(ascii: "\\") ? min(2, bytes.count - index) : 1
                joined += bytes[index..<index + count]
                index += count
            }
        }
        return String(decoding: joined, as: UTF8.self)
    }

    /// A text that may have more aliases is refused before it is parsed, since aliases of aliases could grow without
    /// end. With fewer, `check` finds their anchors.
    private static let maximumAliases = 16

    /// The only document of a file; nil if the file is empty.
    private func document() throws(AuthenticationError) -> Entry? {
        do {
            return try parser.singleRoot().map { Entry(node: $0, line: $0.mark?.line ?? 0) }
        } catch { throw Self.fault(error) }
    }

    /// How many aliases a text has, or perhaps some more than that.
    private static func aliases(in text: String) -> Int {
        text.utf8.split(separator: 0x0A).reduce(0) { count, line in
            var before = UInt8(ascii: " ")
            var found = 0
            for (byte, next) in zip(line, line.dropFirst()) {
                if byte == UInt8(ascii: "#"), found == 0, before == UInt8(ascii: " ") { break }
                if byte == UInt8(ascii: "*"), next > 0x20, " \t[{,:-?".utf8.contains(before) { found += 1 }
                before = byte
            }
            return count + found
        }
    }

    /// The parser's error without any of the file's text, except for a key that appears twice.
    private static func fault(_ error: any Error) -> AuthenticationError {
        let fault = (error as? YamlError)?.fault ?? (0, "it is no YAML")
        return .policy(line: fault.0, reason: fault.1)
    }

    /// A mapping's members in the order of the file; none if the value is null.
    private func members(
        _ entry: Entry, _ reason: String
    ) throws(AuthenticationError) -> [(key: String, value: Entry)] {
        try check(entry)
        if isNull(entry) { return [] }
        guard let mapping = entry.node.mapping else { throw fault(entry, reason) }
        var members: [(key: String, value: Entry)] = []
        var keys: Set<String> = []
        for (key, value) in mapping {
            let member = Entry(node: value, line: key.mark?.line ?? entry.line)
            try check(Entry(node: key, line: member.line))
            try check(member)
            guard let name = key.scalar?.string else { throw fault(member, "a key is no text") }
            // The parser takes `a` and `"a"` for two keys. Names that only look alike are refused as well, since a
            // reader of the file could not tell which of them is given what.
            guard keys.insert(name).inserted else { throw fault(member, "'\(name)' appears twice") }
            members.append((name, member))
        }
        return members
    }

    /// A list's items; nil if the value is no list.
    private func items(_ entry: Entry) throws(AuthenticationError) -> [Entry]? {
        guard let sequence = entry.node.sequence else { return nil }
        var items: [Entry] = []
        for node in sequence {
            let item = Entry(node: node, line: node.mark?.line ?? entry.line)
            try check(item)
            items.append(item)
        }
        return items
    }

    /// Refuses anchors, which aliases would repeat, and tags, which stand for types of other programs.
    private func check(_ entry: Entry) throws(AuthenticationError) {
        guard entry.node.anchor == nil else { throw fault(entry, "anchors and aliases can't be used") }
        guard entry.node.tag.description.hasPrefix("tag:yaml.org,2002:") else {
            throw fault(entry, "tags can't be used")
        }
    }

    private func isNull(_ entry: Entry) -> Bool {
        guard let scalar = entry.node.scalar else { return false }
        return scalar.style == .plain && ["", "~", "null", "Null", "NULL"].contains(scalar.string)
    }

    private func fault(_ entry: Entry, _ reason: String) -> AuthenticationError {
        .policy(line: entry.line, reason: reason)
    }
}

/// A number of bytes as people write it: `1000`, `512MiB`, `100 GiB`. Units are powers of 1024.
struct ByteSize: Hashable, Sendable, CustomStringConvertible {
    /// The largest size, in bytes.
    static let maximum: Int64 = 1 << 60

    private static let units = ["PiB", "TiB", "GiB", "MiB", "KiB"]

    let bytes: Int64

    init(_ bytes: Int64) { self.bytes = bytes }

    /// - Returns: nil if the text is not a size from 0 to `maximum`.
    init?(parsing text: String) {
        let digits = text.utf8.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        let unit = text.dropFirst(digits.count).drop { $0 == " " }
        var factor: Int64 = 1
        if !unit.isEmpty, unit != "B" {
            guard let index = Self.units.firstIndex(of: String(unit)) else { return nil }
            factor = 1 << Int64(10 * (Self.units.count - index))
        }
        guard let number = Int64(Substring(digits)), number <= Self.maximum / factor else { return nil }
        bytes = number * factor
    }

    /// The size in the largest unit of which it is a whole number.
    var description: String {
        for (index, unit) in Self.units.enumerated() {
            let factor: Int64 = 1 << Int64(10 * (Self.units.count - index))
            if bytes > 0, bytes % factor == 0 { return "\(bytes / factor)\(unit)" }
        }
        return String(bytes)
    }
}
