public import OCI

/// An image in a registry, by its digest: `docker://HOST[:PORT]/NAME@sha256:…`.
public struct ImageLocation: Hashable, Sendable, CustomStringConvertible {
    public static let scheme = "docker://"

    /// `host` or `host:port`.
    public let host: String
    public let name: RepositoryName
    public let digest: Digest

    /// - Throws: `TransferError.configuration`, which for an image named by its tag tells how to find its digest.
    public init(parsing text: String) throws(TransferError) {
        let rest = Self.isLocation(text) ? text.dropFirst(Self.scheme.count) : text[...]
        guard let slash = rest.firstIndex(of: "/"), Self.isHost(rest[..<slash]) else {
            throw Self.wrong(text, "it looks like docker://HOST[:PORT]/NAME@sha256:…")
        }
        host = String(rest[..<slash])
        var path = rest[rest.index(after: slash)...]
        guard let at = path.lastIndex(of: "@") else {
            throw Self.wrong(
                text,
                "a tag can mean another image tomorrow: name it by its digest, docker://HOST/NAME@sha256:…, "
                    + "which `skopeo inspect --format '{{.Digest}}' \(text.prefix(300))` prints")
        }
        guard let digest = try? Digest(parsing: path[path.index(after: at)...]) else {
            throw Self.wrong(text, "what follows the @ is no digest (sha256: and 64 hexadecimal digits)")
        }
        self.digest = digest
        path = path[..<at]
        // A tag beside a digest is ignored: the digest alone names the image.
        if let colon = path.lastIndex(of: ":") { path = path[..<colon] }
        guard let name = try? RepositoryName(parsing: path) else {
            throw Self.wrong(text, "'\(path.prefix(100))' is no repository's name")
        }
        self.name = name
    }

    public var description: String { "\(Self.scheme)\(host)/\(name)@\(digest)" }

    /// Whether a text begins with the scheme, in letters of any case.
    public static func isLocation(_ text: String) -> Bool { text.prefix(scheme.count).lowercased() == scheme }

    private static func wrong(_ text: String, _ reason: String) -> TransferError {
        .configuration("'\(text.prefix(300))' can't be taken as an image: \(reason)")
    }

    /// Whether a text looks like a name, an IPv4 address or an IPv6 address in brackets, perhaps with a port.
    private static func isHost(_ text: Substring) -> Bool {
        guard let first = text.utf8.first, text.utf8.count <= 255 else { return false }
        let allowed = first == UInt8(ascii: "[") ? "[]:.0123456789abcdefABCDEF" : nil
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        if allowed == nil, parts.count > 2 || parts.contains(where: \.isEmpty) { return false }
        return text.unicodeScalars.allSatisfy { scalar in
            allowed.map { $0.unicodeScalars.contains(scalar) }
                ?? (scalar.isASCII
                    && (scalar.properties.isAlphabetic || "0123456789.-:".unicodeScalars.contains(scalar)))
        }
    }
}
