import OCI

/// A user's name and password as HTTP Basic authentication carries them (RFC 7617).
struct BasicCredentials: Sendable {
    /// The longest header that is read, in bytes.
    static let maximumHeader = 1024

    let user: String
    let password: String

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
