/// Users and their bcrypt hashes, in the format of Apache's htpasswd: `NAME:HASH` on each line; empty lines and lines
/// that begin with `#` are kept.
public struct Htpasswd: Sendable {
    /// The largest file that is read, in bytes.
    public static let maximumSize = 4 << 20

    private enum Line: Sendable {
        case other(String)
        case user(UserName, BcryptHash)
    }

    private var lines: [Line] = []
    private var hashes: [UserName: BcryptHash] = [:]

    public init() {}

    /// - Throws: `.passwordFile` for a line that is not `NAME:HASH`, for hashes of other schemes and for a name that
    ///   appears twice.
    public init(parsing text: String) throws(AuthenticationError) {
        var number = 0
        for bytes in text.utf8.split(separator: 0x0A, omittingEmptySubsequences: false) {
            number += 1
            let line = Substring(bytes.last == 0x0D ? bytes.dropLast() : bytes)
            guard !line.isEmpty, !line.hasPrefix("#") else {
                lines.append(.other(String(line)))
                continue
            }
            guard let colon = line.firstIndex(of: ":") else {
                throw .passwordFile(line: number, reason: "it is not NAME:HASH")
            }
            let name = UserName(String(line[..<colon]))
            guard Self.isName(name.text) else { throw .passwordFile(line: number, reason: "the name can't be used") }
            let hash = String(line[line.index(after: colon)...])
            guard let bcrypt = BcryptHash(hash) else { throw .passwordFile(line: number, reason: Self.fault(in: hash)) }
            guard hashes.updateValue(bcrypt, forKey: name) == nil else {
                throw .passwordFile(line: number, reason: "the user \(name) appears twice")
            }
            lines.append(.user(name, bcrypt))
        }
        if case .other("")? = lines.last { lines.removeLast() }
    }

    /// Reads the file for a server, which lets its users in.
    /// - Throws: as `init(path:)`, and `.passwordFile` if there is no user: a file that was emptied by mistake would lock
    ///   everybody out.
    public static func serving(_ path: String) throws(AuthenticationError) -> Htpasswd {
        let file = try Htpasswd(path: path)
        guard !file.hashes.isEmpty else {
            throw .passwordFile(line: 0, reason: "it has no user: use `cistern user add`")
        }
        return file
    }

    /// The users' names in the order of the file.
    public var users: [String] {
        lines.compactMap { if case .user(let name, _) = $0 { name.text } else { nil } }
    }

    func hash(of user: String) -> BcryptHash? { hashes[UserName(user)] }

    /// The cost that most of the hashes have, the lowest of those that are as common; 10 without users.
    var usualCost: Int {
        let counts = hashes.values.reduce(into: [Int: Int]()) { $0[$1.cost, default: 0] += 1 }
        return counts.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key ?? 10
    }

    /// Adds a user or gives a user another password.
    /// - Throws: `.userName`.
    public mutating func set(_ user: String, _ hash: BcryptHash) throws(AuthenticationError) {
        guard Self.isName(user) else { throw .userName(user) }
        let user = UserName(user)
        if hashes.updateValue(hash, forKey: user) == nil {
            lines.append(.user(user, hash))
        } else {
            lines = lines.map { line in
                if case .user(user, _) = line { .user(user, hash) } else { line }
            }
        }
    }

    /// - Returns: whether there was such a user.
    @discardableResult
    public mutating func remove(_ user: String) -> Bool {
        let user = UserName(user)
        guard hashes.removeValue(forKey: user) != nil else { return false }
        lines.removeAll { if case .user(user, _) = $0 { true } else { false } }
        return true
    }

    /// The file's text, hashes included.
    var text: String {
        lines.map { line in
            switch line {
            case .other(let text): text + "\n"
            case .user(let name, let hash): "\(name):\(hash.text)\n"
            }
        }.joined()
    }

    static func isName(_ name: String) -> Bool {
        (1...255).contains(name.utf8.count) && !name.hasPrefix("#")
            && name.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F && $0 != UInt8(ascii: ":") }
    }

    private static func fault(in hash: String) -> String {
        let schemes = [
            ("$apr1$", "Apache's MD5"), ("{SHA}", "SHA-1"), ("{SSHA}", "SHA-1"), ("$1$", "MD5"), ("$5$", "SHA-256"),
            ("$6$", "SHA-512"), ("$y$", "yescrypt"),
        ]
        if let (_, name) = schemes.first(where: { hash.hasPrefix($0.0) }) {
            return "its password is hashed with \(name), and only bcrypt is accepted: "
                + "use `cistern user add` or `htpasswd -B`"
        }
        if hash.hasPrefix("$2") {
            let parts = hash.split(separator: "$")
            if parts.count > 1, let cost = Int(parts[1]), cost > BcryptHash.costs.upperBound {
                return
                    "its bcrypt hash has the cost \(cost), and \(BcryptHash.costs.upperBound) is the highest that is "
                    + "taken, since each guess would take seconds: use `cistern user add`"
            }
            return "its bcrypt hash is not whole, or its cost is not in \(BcryptHash.costs)"
        }
        return "its password is not hashed with bcrypt: use `cistern user add` or `htpasswd -B`"
    }
}

extension Htpasswd: CustomStringConvertible, CustomReflectable {
    /// Names only.
    public var description: String { "users: \(users.joined(separator: ", "))" }
    public var customMirror: Mirror { Mirror(self, children: []) }
}

extension Htpasswd {
    /// - Throws: `.file` if it can't be read, `.passwordFile` if it can't be used.
    public init(path: String) throws(AuthenticationError) {
        try self.init(parsing: try PrivateFile.read(path, maximum: Self.maximumSize))
    }

    /// Changes a file as one step: other callers of this function wait, and readers see the old file or the new one.
    /// - Parameter path: made with mode 0600 if it is missing.
    public static func update<Result>(
        _ path: String, _ change: (inout Htpasswd) throws(AuthenticationError) -> Result
    ) throws(AuthenticationError) -> Result {
        try PrivateFile.locked(path) { () throws(AuthenticationError) -> Result in
            var users = PrivateFile.exists(path) ? try Htpasswd(path: path) : Htpasswd()
            let result = try change(&users)
            try PrivateFile.write(path, Array(users.text.utf8))
            return result
        }
    }
}
