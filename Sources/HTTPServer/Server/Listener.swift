public import NIOSSL

/// An address to serve and how it is secured.
public struct Listener: Sendable {
    public enum Security: Sendable {
        /// Plain HTTP: files go out by sendfile. Only for those who ask for it.
        case plain
        /// A certificate and key that stay as they are.
        case tls(TLSConfiguration)
        /// Those of files, which may be replaced by others while the server runs (`CredentialReloader`).
        case reloading(ServerTLS)
    }

    public let address: ListenAddress
    public let security: Security

    public init(address: ListenAddress, security: Security) {
        self.address = address
        self.security = security
    }
}

/// An address that is served: what was asked for, with the port that was picked.
public struct BoundAddress: Hashable, Sendable, CustomStringConvertible {
    public let address: ListenAddress
    public let isSecure: Bool

    public var description: String { "\(isSecure ? "https" : "http")://\(address)" }
}
