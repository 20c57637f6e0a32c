import CLinux
import Glibc

/// Why a transfer of a staging task failed: a kind for programs, and a sentence for people that holds no secret.
package struct TransferFailure: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Kind: Hashable, Sendable {
        /// A URL that can't be used, or that may not be (`DestinationRules`).
        case forbidden
        /// A setting, variable or file of the task that can't be used.
        case invalid
        /// The server has nothing there (404, 410).
        case notFound
        /// The server refuses, and would again.
        case refused
        /// The server can't be reached, breaks off or has no time, again and again.
        case unreachable
        /// The server's certificate is not trusted.
        case untrusted
        /// There are more bytes than are allowed.
        case tooLarge
        /// The bytes do not have the checksum that was asked for, or are no archive.
        case corrupt
        /// A file can't be read or written; the disk is full.
        case file
        /// The time for the whole transfer is over.
        case timedOut
    }

    package let kind: Kind
    /// A sentence without its full stop: what failed, and what to do about it.
    package let description: String
    /// Whether trying again may help.
    let mayGetBetter: Bool
    /// How many seconds the server asks to wait.
    let pause: Double?

    package init(_ kind: Kind, _ description: String) {
        self.init(kind, description, mayGetBetter: kind == .unreachable)
    }

    init(_ kind: Kind, _ description: String, mayGetBetter: Bool, pause: Double? = nil) {
        self.kind = kind
        self.description = description
        self.mayGetBetter = mayGetBetter
        self.pause = pause
    }

    /// A failed system call on a file.
    static func file(_ path: String, _ code: Int32 = errno) -> TransferFailure {
        let reason =
            code == ENOSPC || code == EDQUOT
            ? "the disk is full: give the task more disk" : String(cString: strerror(code))
        return TransferFailure(.file, "\(path): \(reason)")
    }
}

/// A URL of a staging task (RFC 3986), taken apart once, so that what is checked is what is connected to. Its
/// description is `masked`.
package struct TransferURL: Hashable, Sendable {
    package enum Scheme: String, Sendable {
        case http
        case https
        /// Only for git.
        case ssh
        /// Only where the machine's own files may be read.
        case file
    }

    /// The largest URL that is read, in bytes.
    static let maximumLength = 8192

    package let scheme: Scheme
    /// User and password, decoded; nil if the URL has none.
    let credentials: Credentials?
    /// In lower case, without brackets and without a dot at its end; empty if the scheme is `file`.
    package let host: String
    let explicitPort: Int?
    /// Begins with `/`, percent-encoded.
    let path: String
    /// Without its `?`.
    let query: String?
    /// Without its `#`, decoded: what git calls a ref.
    let fragment: String?

    struct Credentials: Hashable, Sendable {
        let user: String
        let password: String
    }

    /// - Throws: `TransferFailure`, `.forbidden`.
    package init(_ text: String) throws(TransferFailure) {
        do {
            self = try TransferURL(parsing: text)
        } catch {
            // Without a scheme there is no telling what of it is a password.
            let shown = text.contains("://") ? Self.masked(String(text.prefix(Self.maximumLength))) : "this is no URL"
            throw TransferFailure(.forbidden, "\(shown): \(error.reason)")
        }
    }

    /// Why a text is no URL that can be used; the text itself is left out.
    private struct Malformed: Error {
        let reason: String
    }

    private init(parsing text: String) throws(Malformed) {
        func refuse(_ reason: String) -> Malformed { Malformed(reason: reason) }
        guard text.utf8.count <= Self.maximumLength else {
            throw refuse("the URL has more than \(Self.maximumLength) bytes")
        }
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "\\") }) else {
            throw refuse("the URL has a space, backslash or control character in it: encode it with %")
        }
        guard let mark = text.firstRange(of: "://") else { throw refuse("no URL: it must begin with https://") }
        guard let scheme = Scheme(rawValue: text[..<mark.lowerBound].lowercased()) else {
            throw refuse("only https is fetched from")
        }
        var rest = text[mark.upperBound...]
        if let hash = rest.firstIndex(of: "#") {
            guard let decoded = Self.decoded(rest[rest.index(after: hash)...]) else {
                throw refuse("what follows # is not well encoded")
            }
            fragment = decoded
            rest = rest[..<hash]
        } else {
            fragment = nil
        }
        if let question = rest.firstIndex(of: "?") {
            query = Self.encoded(rest[rest.index(after: question)...])
            rest = rest[..<question]
        } else {
            query = nil
        }
        let slash = rest.firstIndex(of: "/") ?? rest.endIndex
        path = slash == rest.endIndex ? "/" : Self.encoded(rest[slash...])
        guard Self.decoded(path[...]) != nil, Self.decoded((query ?? "")[...]) != nil else {
            throw refuse("its path or query is not well encoded")
        }
        var authority = rest[..<slash]
        self.scheme = scheme
        if let at = authority.lastIndex(of: "@") {
            let parts = authority[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard let user = Self.decoded(parts[0]), let password = parts.count > 1 ? Self.decoded(parts[1]) : "" else {
                throw refuse("its user or password is not well encoded")
            }
            credentials = Credentials(user: user, password: password)
            authority = authority[authority.index(after: at)...]
        } else {
            credentials = nil
        }
        if scheme == .file {
            guard authority.isEmpty || authority == "localhost" else { throw refuse("file: URLs name no host") }
            host = ""
            explicitPort = nil
            return
        }
        guard let (host, port) = Self.hostAndPort(authority) else {
            throw refuse("its host or port is not well formed")
        }
        self.host = host
        explicitPort = port
    }

    /// Takes `host`, `host:port`, `[IPv6]` and `[IPv6]:port` apart; nil if it is none of them.
    static func hostAndPort(_ text: Substring) -> (host: String, port: Int?)? {
        var host = text
        var port: Int?
        let colon: Substring.Index?
        if text.hasPrefix("[") {
            guard let bracket = text.firstIndex(of: "]") else { return nil }
            let end = text.index(after: bracket)
            guard end == text.endIndex || text[end] == ":" else { return nil }
            host = text[text.index(after: text.startIndex)..<bracket]
            guard host.contains(":"), IPAddress(String(host)) != nil else { return nil }
            colon = end == text.endIndex ? nil : end
        } else {
            colon = text.firstIndex(of: ":")
            host = text[..<(colon ?? text.endIndex)]
            if host.hasSuffix(".") { host.removeLast() }
            guard !host.isEmpty, host.utf8.count <= 253,
                host.utf8.allSatisfy({ byte in
                    switch byte {
                    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
                        UInt8(ascii: "_"):
                        true
                    default: false
                    }
                }), !host.hasPrefix("-")
            else { return nil }
        }
        if let colon {
            let digits = text[text.index(after: colon)...]
            guard digits.allSatisfy({ $0.isASCII && $0.isNumber }), let number = Int(digits),
                (1...65535).contains(number)
            else { return nil }
            port = number
        }
        return (host.lowercased(), port)
    }

    /// The path of a `file:` URL, decoded; nil if it has a NUL or is not UTF-8.
    var filePath: String? { Self.decoded(path[...]) }

    package var port: Int {
        explicitPort
            ?? {
                switch scheme {
                case .http: 80
                case .https: 443
                case .ssh: 22
                case .file: 0
                }
            }()
    }

    /// Whether another URL leads to the same server, by the same protocol.
    func hasSameOrigin(as other: TransferURL) -> Bool {
        scheme == other.scheme && host == other.host && port == other.port
    }

    /// `scheme://host:port`, without user and password.
    var origin: String {
        let name = host.contains(":") ? "[\(host)]" : host
        return "\(scheme.rawValue)://\(name)\(explicitPort.map { ":\($0)" } ?? "")"
    }

    /// The whole URL without user, password and fragment: what an HTTP client and git are given.
    var withoutCredentials: String { origin + path + (query.map { "?\($0)" } ?? "") }

    /// The URL for messages and records: without user, password and query, any of which may be a secret.
    package var masked: String {
        origin + path + (query == nil ? "" : "?***") + (fragment.map { "#\(Self.encoded($0[...]))" } ?? "")
    }

    /// Any text that may be a URL, without what may be a secret: user, password and query. What is no URL stays as it
    /// is; what is a malformed one loses all up to its last `@`.
    package static func masked(_ text: String) -> String {
        guard text.contains("://") else { return text }
        if let url = try? TransferURL(parsing: text) { return url.masked }
        guard let mark = text.firstRange(of: "://") else { return text }
        var rest = text[mark.upperBound...]
        if let at = rest.lastIndex(of: "@") { rest = rest[rest.index(after: at)...] }
        if let question = rest.firstIndex(of: "?") { rest = rest[..<question] + "?***" }
        return String(text[..<mark.upperBound] + rest)
    }

    /// Text of another program in which URLs may stand, each of them masked.
    package static func maskedText(_ text: String) -> String {
        var result = ""
        var word = ""
        for character in text {
            if character.isWhitespace || "'\"<>(),".contains(character) {
                result += masked(word) + String(character)
                word = ""
            } else {
                word.append(character)
            }
        }
        return result + masked(word)
    }

    // MARK: Relative references

    /// The URL that a `Location` header names (RFC 3986, section 5.2). Its fragment, user and password count for
    /// nothing.
    /// - Throws: `TransferFailure`, `.forbidden`.
    func following(_ reference: String) throws(TransferFailure) -> TransferURL {
        let reference = String(reference.prefix { $0 != "#" })
        let scheme = reference.prefix { $0.isASCII && ($0.isLetter || $0.isNumber || "+-.".contains($0)) }
        if !scheme.isEmpty, reference[scheme.endIndex...].hasPrefix(":") { return try TransferURL(reference) }
        if reference.hasPrefix("//") { return try TransferURL("\(self.scheme.rawValue):\(reference)") }
        if reference.hasPrefix("/") { return try TransferURL(origin + reference) }
        if reference.hasPrefix("?") || reference.isEmpty { return try TransferURL(origin + path + reference) }
        let directory = path[...(path.lastIndex(of: "/") ?? path.startIndex)]
        let parts = reference.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let query = parts.count > 1 ? "?" + parts[1] : ""
        return try TransferURL(origin + Self.withoutDots(directory + parts[0]) + query)
    }

    /// RFC 3986, section 5.2.4.
    private static func withoutDots(_ path: some StringProtocol) -> String {
        var kept: [Substring] = []
        let parts = Substring(path).split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        for part in parts {
            switch part {
            case ".": continue
            case "..": _ = kept.popLast()
            default: kept.append(part)
            }
        }
        if let last = parts.last, last == "." || last == ".." { kept.append("") }
        return "/" + kept.joined(separator: "/")
    }

    // MARK: Percent-encoding

    /// Encodes what may not stand in a path or query, and leaves what is encoded already.
    private static func encoded(_ text: Substring) -> String {
        let allowed = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/?%".utf8)
        var bytes: [UInt8] = []
        let digits = Array("0123456789ABCDEF".utf8)
        for byte in text.utf8 {
            if allowed.contains(byte) {
                bytes.append(byte)
            } else {
                bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Nil if a `%` is not followed by two digits, or if the result has control characters or is not UTF-8.
    private static func decoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else {
                return nil
            }
            rest = rest.dropFirst(2)
            bytes.append(value)
        }
        guard bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }
}

extension TransferURL: CustomStringConvertible, CustomReflectable {
    package var description: String { masked }
    package var customMirror: Mirror { Mirror(self, children: ["masked": masked]) }
}
