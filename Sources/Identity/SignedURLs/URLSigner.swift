import Crypto
import Runtime
import Synchronization

/// Signs URLs and checks signatures of URLs, each good for one method and one path, for an hour at most.
///
/// A signed URL has three parameters more: `signature`, `expires` (seconds since 1970) and `AccessKeyId`. The signature
/// is the HMAC-SHA256, in hexadecimal and with the secret as key, of `METHOD path secret expires`, where the path is
/// what the request line has, byte for byte. Clients that know a secret compute it themselves, so the form is fixed.
/// Other parameters of the query belong to the path, after a `?` (`/droplets/a?stack=tiny`): whoever gets a URL for one
/// stack can't use it for another. Only `async` and `verb` are left out, which the controller's client appends to URLs
/// that it signed; neither chooses what a request may reach.
///
/// `AccessKeyId` is always needed, also while there is one key: a URL without it, tried with whatever secret is there,
/// is how signatures used to be forged.
///
/// A URL says nothing of who had it signed, and the form has no field for that. A request with a good signature
/// acts as `URLSigner.principal`, who has no role: it may do this one thing and nothing else. Who had it signed is in
/// the log line of the request for `/sign/…`. The principal's name has no key id, since these are kept out of logs.
public final class URLSigner: Sendable {
    /// The methods that can be signed. A signature for GET is good for HEAD. None is good for DELETE.
    public enum Method: String, Hashable, Sendable, CaseIterable {
        case get = "GET"
        case put = "PUT"
        case post = "POST"
    }

    /// What a signature is worth.
    package enum Verdict: Hashable, Sendable {
        case unsigned
        case good
        /// The reason repeats nothing of the URL.
        case refused(reason: String)
    }

    /// For how many seconds a URL is valid.
    public static let lifetime: Int64 = 3600
    /// By how many seconds the clock of a client that signs may be ahead.
    static let skew: Int64 = 300

    /// Who sends a request that has a good signature.
    package static let principal = Principal(name: "signed-url", roles: [])

    private let keys: Mutex<SecretKeys>
    private let now: @Sendable () -> Int64

    public convenience init(_ keys: SecretKeys) { self.init(keys, now: { SystemClock.now() }) }

    /// - Parameter now: nanoseconds since 1970.
    package init(_ keys: SecretKeys, now: @escaping @Sendable () -> Int64) {
        self.keys = Mutex(keys)
        self.now = now
    }

    /// Replaces the keys, for all requests from now on.
    public func replace(_ keys: SecretKeys) { self.keys.withLock { $0 = keys } }

    /// Signs a path and its query for the next hour.
    /// - Parameter target: as it will stand in the request line, escaped: `/droplets/a?stack=tiny`. Signature parameters
    ///   that it has already are dropped.
    /// - Returns: the same with a signature, also without scheme and host.
    public func sign(_ method: Method, _ target: String) -> String {
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let signed = SignedTarget(path: String(parts[0]), query: parts.count == 2 ? String(parts[1]) : "")
        let key = keys.withLock { $0.current }
        let expires = String(now() / 1_000_000_000 + Self.lifetime)
        let code = HMAC<SHA256>.authenticationCode(
            for: Self.text(method, signed.text, key, Substring(expires)), using: Self.key(key))
        let signature = code.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        let query = signed.rest + ["signature=\(signature)", "expires=\(expires)", "AccessKeyId=\(key.id)"]
        return "\(parts[0])?\(query.joined(separator: "&"))"
    }

    /// Checks the signature of a request.
    /// - Parameters:
    ///   - method: as received.
    ///   - path: as received, escaped, without the query.
    ///   - query: as received, without its `?`.
    package func verdict(on method: String, path: String, query: String) -> Verdict {
        let target = SignedTarget(path: path, query: query)
        guard !target.signatures.isEmpty else { return .unsigned }
        guard let method = Method(rawValue: method == "HEAD" ? "GET" : method) else {
            return .refused(reason: "the method can't be signed")
        }
        guard target.signatures.count == 1, target.expirations.count == 1, target.keys.count == 1 else {
            return .refused(reason: "signature, expires or AccessKeyId is missing or there twice")
        }
        guard let key = keys.withLock({ $0[target.keys[0]] }) else { return .refused(reason: "the key is unknown") }
        let expires = target.expirations[0]
        guard (1...12).contains(expires.utf8.count), expires.utf8.allSatisfy({ 0x30...0x39 ~= $0 }),
            let end = Int64(expires)
        else { return .refused(reason: "expires is no time") }
        // The comparison takes as long whatever the signature is.
        guard let code = Self.code(target.signatures[0]),
            HMAC<SHA256>.isValidAuthenticationCode(
                code, authenticating: Self.text(method, target.text, key, expires), using: Self.key(key))
        else { return .refused(reason: "the signature is not one of this method and path") }
        let seconds = now() / 1_000_000_000
        guard seconds <= end else { return .refused(reason: "the URL expired") }
        guard end <= seconds + Self.lifetime + Self.skew else {
            return .refused(reason: "the URL is valid for more than \(Self.lifetime) s")
        }
        return .good
    }

    private static func key(_ key: SecretKeys.Key) -> SymmetricKey { SymmetricKey(data: Array(key.secret.utf8)) }

    private static func text(_ method: Method, _ target: String, _ key: SecretKeys.Key, _ expires: Substring) -> [UInt8]
    {
        Array("\(method.rawValue) \(target) \(key.secret) \(expires)".utf8)
    }

    /// The bytes of 64 lower-case hexadecimal digits.
    private static func code(_ text: Substring) -> [UInt8]? {
        guard text.utf8.count == 64 else { return nil }
        var bytes: [UInt8] = []
        var high: UInt8?
        for byte in text.utf8 {
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            default: return nil
            }
            if let first = high { bytes.append(first << 4 | digit) }
            high = high == nil ? digit : nil
        }
        return bytes
    }
}

/// A path and query taken apart into what is signed and the parameters of the signature. Names are compared as they
/// were received: an escaped one is a parameter like any other, and so part of what is signed.
private struct SignedTarget {
    /// What the signature is about: the path, then the parameters that it covers.
    let text: String
    /// The parameters that are not of the signature, `async` and `verb` among them.
    private(set) var rest: [String] = []
    private(set) var signatures: [Substring] = []
    private(set) var expirations: [Substring] = []
    private(set) var keys: [Substring] = []

    init(path: String, query: String) {
        var covered: [Substring] = []
        for pair in query.utf8.split(separator: UInt8(ascii: "&")) {
            let parts = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            let (name, value) = (Substring(parts[0]), parts.count == 2 ? Substring(parts[1]) : "")
            switch name {
            case "signature": signatures.append(value)
            case "expires": expirations.append(value)
            case "AccessKeyId": keys.append(value)
            default:
                if name != "async", name != "verb" { covered.append(Substring(pair)) }
                rest.append(String(Substring(pair)))
            }
        }
        text = covered.isEmpty ? path : "\(path)?\(covered.joined(separator: "&"))"
    }
}
