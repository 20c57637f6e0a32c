import Crypto
import JSON
import OCI
import Runtime
import Synchronization

/// Whom a token is for.
public enum TokenSubject: Hashable, Sendable {
    /// Whoever has no credentials: the token says so, since some clients can't do without one.
    case nobody
    /// A user of the password file.
    case user(String)
    /// The user that a client's certificate names. The token counts on connections with such a certificate only.
    case certificate(String)
}

/// Signs tokens for `/v2/`, and checks them: JSON Web Tokens (RFC 7519) with HMAC-SHA256, for nobody's eyes but this
/// server's.
///
/// Nothing in a token chooses how it is checked. Its first part must be, byte for byte, what this server writes for one
/// of its keys; then the signature, issuer, audience and time are compared. A token says who its bearer is and which
/// actions it was issued for. It never holds a role: what the bearer may do is looked up in today's policy.
public final class TokenSigner: Sendable {
    /// For how many seconds a token is valid.
    public static let lifetime: Int64 = 300
    /// By how many seconds the clock may have been ahead when a token was issued.
    static let skew: Int64 = 60
    /// What tokens are for, and who issues them: the `service` of the token protocol.
    public static let service = "cistern"
    /// The longest token, in bytes. `TokenScope.maximumCount` of the longest names fit in.
    static let maximumLength = 8 << 10

    /// What a good token says.
    struct Claims: Sendable {
        let subject: TokenSubject
        let scope: TokenScope
        /// In seconds since 1970.
        let expires: Int64
        fileprivate let mark: String?
        fileprivate let key: Key

        /// Whether the token was issued for a user with this password.
        func isFor(_ hash: BcryptHash) -> Bool { mark == key.mark(of: hash) }
    }

    /// A key as it is used.
    fileprivate struct Key: Sendable {
        /// The first part of its tokens, with the dot behind it.
        let header: String
        private let secret: SymmetricKey

        init(_ key: SecretKeys.Key) {
            let header: JSONValue = ["alg": "HS256", "kid": .string(key.id), "typ": "JWT"]
            self.header = Base64.encodeURL(header.canonicalBytes) + "."
            secret = SymmetricKey(data: Array(key.secret.utf8))
        }

        func signature(of text: some StringProtocol) -> String {
            Base64.encodeURL(Array(HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: secret)))
        }

        /// Changes with the user's password, and tells nothing of it.
        func mark(of hash: BcryptHash) -> String { String(signature(of: "password \(hash.text)").prefix(16)) }
    }

    private let keys: Mutex<[Key]>
    private let now: @Sendable () -> Int64

    public convenience init(_ keys: SecretKeys) { self.init(keys, now: { SystemClock.now() }) }

    /// - Parameter now: nanoseconds since 1970.
    package init(_ keys: SecretKeys, now: @escaping @Sendable () -> Int64) {
        self.keys = Mutex(Self.prepared(keys))
        self.now = now
    }

    private static func prepared(_ keys: SecretKeys) -> [Key] {
        [Key(keys.current)] + (keys.previous.map { [Key($0)] } ?? [])
    }

    /// Replaces the keys, for all requests from now on.
    func replace(_ keys: SecretKeys) { self.keys.withLock { $0 = Self.prepared(keys) } }

    /// In seconds since 1970.
    var seconds: Int64 { now() / 1_000_000_000 }

    /// Whether a value of Authorization is a token rather than a password (RFC 6750, section 2.1).
    package static func isToken(_ authorization: String) -> Bool {
        authorization.utf8.prefix(7).elementsEqual("bearer ".utf8) { $0 | 0x20 == $1 }
    }

    /// - Parameter hash: the subject's password; nil if it has none.
    func sign(_ subject: TokenSubject, _ scope: TokenScope, password hash: BcryptHash? = nil) -> String {
        let key = keys.withLock { $0[0] }
        let seconds = seconds
        var claims: JSONObject = [
            "iss": .string(Self.service), "aud": .string(Self.service), "iat": .integer(seconds),
            "exp": .integer(seconds + Self.lifetime), "access": scope.json,
        ]
        switch subject {
        case .nobody: break
        case .user(let name):
            claims["sub"] = .string(name)
            claims["password"] = hash.map { .string(key.mark(of: $0)) }
        case .certificate(let name):
            claims["sub"] = .string(name)
            claims["certificate"] = true
        }
        let text = key.header + Base64.encodeURL(JSONValue.object(claims).canonicalBytes)
        return "\(text).\(key.signature(of: text))"
    }

    /// Checks a token.
    /// - Parameter authorization: the value of Authorization, for which `isToken` holds.
    /// - Returns: nil if it is not good, or not any more.
    func claims(of authorization: String) -> Claims? {
        let token = authorization.utf8.dropFirst(7)
        guard token.count <= Self.maximumLength, let dot = token.lastIndex(of: UInt8(ascii: ".")) else { return nil }
        let (text, signature) = (Substring(token[..<dot]), token[token.index(after: dot)...])
        let key = keys.withLock { keys in keys.first { text.utf8.starts(with: $0.header.utf8) } }
        guard let key, Self.isEqual(signature, key.signature(of: text).utf8),
            let bytes = Base64.decodeURL(text.dropFirst(key.header.utf8.count)),
            let json = try? JSONValue(parsing: bytes), json["iss"]?.string == Self.service,
            json["aud"]?.string == Self.service, let expires = json["exp"]?.integer,
            let scope = json["access"].flatMap(TokenScope.init(json:)), let subject = Self.subject(json)
        else { return nil }
        let seconds = seconds
        guard seconds < expires, expires - Self.lifetime <= seconds + Self.skew else { return nil }
        return Claims(
            subject: subject, scope: scope, expires: expires, mark: json["password"]?.string, key: key)
    }

    private static func subject(_ json: JSONValue) -> TokenSubject? {
        guard let member = json["sub"] else { return .nobody }
        guard let name = member.string else { return nil }
        return json["certificate"]?.bool == true ? .certificate(name) : .user(name)
    }

    /// Takes as long wherever the texts differ.
    private static func isEqual(_ one: Substring.UTF8View, _ other: String.UTF8View) -> Bool {
        one.count == other.count && zip(one, other).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}

/// A token as a client gets it.
public struct IssuedToken: Sendable {
    public let text: String
    /// What it grants: of what was asked for, what the policy gives.
    public let scope: TokenScope
}

/// Who sends a request with a good token, with no more rights than the token has.
public enum TokenBearer: Sendable {
    case nobody(Principal)
    case user(Principal)
}

/// Remembers tokens that were found good. What was remembered for longest is forgotten first.
struct TokenCache: Sendable {
    struct Entry: Sendable {
        let bearer: TokenBearer
        let subject: TokenSubject
        /// In seconds since 1970.
        let expires: Int64
    }

    /// How many tokens are remembered.
    let maximum: Int
    /// New tokens go to `young`; when that is full it becomes `old`, and the former `old` is forgotten.
    private var young: [CredentialCache.Key: Entry] = [:]
    private var old: [CredentialCache.Key: Entry] = [:]

    init(maximum: Int) { self.maximum = maximum }

    subscript(_ key: CredentialCache.Key) -> Entry? { young[key] ?? old[key] }

    mutating func add(_ entry: Entry, for key: CredentialCache.Key) {
        if young.count >= max(1, maximum / 2) {
            old = young
            young = [:]
        }
        young[key] = entry
    }

    mutating func removeAll() {
        young = [:]
        old = [:]
    }
}
