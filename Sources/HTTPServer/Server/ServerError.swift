/// Why the server can't listen.
public enum ServerError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Not `HOST:PORT`.
    case address(String)
    /// The address can't be had; the text says why.
    case bind(ListenAddress, reason: String)
    /// A certificate or key can't be used; the text says why.
    case tls(String)

    public var description: String {
        switch self {
        case .address(let text):
            "'\(text)' is not an address: write HOST:PORT, for example 127.0.0.1:8443 or [::1]:8443"
        case .bind(let address, let reason): "can't listen on \(address): \(reason)"
        case .tls(let reason): "TLS can't be set up: \(reason)"
        }
    }
}
