import OCI

/// The users of a new data directory: `operator` and `pull`, each with a random password.
public enum FirstUsers {
    /// Where a data directory keeps its users; only the owner may read these files.
    public struct Paths: Hashable, Sendable {
        public let users: String
        public let policy: String
        public let secrets: String

        /// - Parameter data: the server's data directory.
        public init(data: String) {
            users = "\(data)/users.htpasswd"
            policy = "\(data)/policy.yaml"
            secrets = "\(data)/secrets"
        }

        public func password(of user: String) -> String { "\(secrets)/\(user).password" }
    }

    /// Makes users, policy and passwords if there is no password file. That one is written last, so that a start which
    /// was interrupted begins again.
    /// - Parameter cost: the cost of the hashes.
    /// - Returns: the paths of the passwords that were made; empty if there were users.
    public static func prepare(_ paths: Paths, cost: Int = 10) throws(AuthenticationError) -> [String] {
        guard !PrivateFile.exists(paths.users) else { return [] }
        try PrivateFile.makeDirectory(paths.secrets)
        var users = Htpasswd()
        var made: [String] = []
        for (name, role) in [("operator", Role.operator), ("pull", Role.pull)] {
            let password = randomPassword()
            let path = paths.password(of: name)
            try PrivateFile.write(path, Array((password + "\n").utf8))
            made.append(path)
            try users.set(name, try BcryptHash(password: password, cost: cost))
            try Policy.update(paths.policy) { policy throws(AuthenticationError) in try policy.set(name, [role]) }
        }
        try PrivateFile.write(paths.users, Array(users.text.utf8))
        return made
    }

    /// A password of 160 random bits, in letters and digits that can't be confused with one another.
    static func randomPassword() -> String {
        let alphabet = Array("23456789abcdefghijkmnpqrstuvwxyz".utf8)
        var generator = SystemRandomNumberGenerator()
        return String(
            decoding: (0..<32).map { _ in alphabet[Int(generator.next() as UInt8) % alphabet.count] }, as: UTF8.self)
    }
}

/// A user's name and password as HTTP Basic authentication carries them (RFC 7617).
package struct BasicCredentials: Sendable {
    /// The longest header that is read, in bytes.
    static let maximumHeader = 1024

    let user: String
    let password: String

    /// Whether a header has neither a user's name nor a password: what some clients send for nobody.
    package static func areEmpty(_ header: String) -> Bool {
        header.utf8.count == 10 && header.utf8.prefix(6).elementsEqual("basic ".utf8) { $0 | 0x20 == $1 }
            && header.utf8.dropFirst(6).elementsEqual("Og==".utf8)
    }

    /// The header for a user's name and password.
    package static func header(_ user: String, _ password: String) -> String {
        "Basic " + Base64.encode(Array("\(user):\(password)".utf8))
    }

    /// - Parameter header: the value of Authorization.
    /// - Returns: nil for other schemes and malformed values.
    init?(_ header: String) {
        let bytes = header.utf8
        guard bytes.count <= Self.maximumHeader, bytes.count > 6,
            bytes.prefix(6).map({ $0 | 0x20 }).elementsEqual("basic ".utf8),
            let decoded = Base64.decode(Substring(bytes.dropFirst(6))),
            let colon = decoded.firstIndex(of: UInt8(ascii: ":")),
            let user = String(validating: decoded[..<colon], as: UTF8.self), !user.isEmpty,
            let password = String(validating: decoded[(colon + 1)...], as: UTF8.self)
        else { return nil }
        self.user = user
        self.password = password
    }
}
