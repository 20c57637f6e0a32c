public import NIOSSL

/// An address to serve and how it is secured.
public struct Listener: Sendable {
    public enum Security: Sendable {
        /// Plain HTTP, where files go out by sendfile. It must be asked for.
        case plain
        /// A certificate and key that stay as they are.
        case tls(TLSConfiguration)
        /// A certificate and key from files, which may be replaced while the server runs (`CredentialReloader`).
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

/// Where a listener waits for connections: `HOST:PORT`, with an IPv6 address in brackets (`[::1]:8443`). `:PORT` and
/// `*:PORT` are every address of the machine, IPv4 and IPv6.
public struct ListenAddress: Hashable, Sendable, CustomStringConvertible {
    public let host: String
    /// 0 lets the system pick a free port.
    public let port: Int

    public init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// - Throws: `ServerError.address` if the text has no host, or no port between 0 and 65535.
    public init(parsing text: String) throws(ServerError) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            throw .address(text)
        }
        var host = text[..<colon]
        if host.isEmpty || host == "*" {
            host = "::"
        } else if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            throw .address(text)
        }
        guard !host.isEmpty, host.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { throw .address(text) }
        self.host = String(host)
        self.port = Int(port)
    }

    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// Why the server can't listen.
public enum ServerError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The text is not `HOST:PORT`.
    case address(String)
    /// The address can't be bound; the text says why.
    case bind(ListenAddress, reason: String)
    /// A certificate or key can't be used; the text says why.
    case tls(String)
    /// These routes have no row in the table of roles and routes.
    case routes([String])

    public var description: String {
        switch self {
        case .address(let text): "'\(text)' is not an address: \(Self.fault(in: text))"
        case .bind(let address, let reason): "can't listen on \(address): \(reason)"
        case .routes(let routes):
            "the table of roles and routes (AccessTable) has no row for \(routes.joined(separator: ", "))"
        case .tls(let reason): "TLS can't be set up: \(reason)"
        }
    }

    /// What is wrong with a text that is not `HOST:PORT`, and what to write instead.
    private static func fault(in text: String) -> String {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        let port = parts.last ?? ""
        if text.contains("://") { return "it is a URL: write HOST:PORT alone, for example 127.0.0.1:8443" }
        if UInt16(text) != nil {
            return
                "it has no host: write :\(text) for every address of this machine, 127.0.0.1:\(text) for loopback alone"
        }
        if parts.count == 1, !text.isEmpty { return "it has no port: write HOST:PORT, for example 127.0.0.1:8443" }
        if parts.count > 2, !text.hasPrefix("[") {
            return "an IPv6 address stands in brackets: write it as in [::1]:8443"
        }
        if !text.isEmpty, UInt16(port) == nil { return "'\(port)' is no port: ports are numbers from 0 to 65535" }
        return "write HOST:PORT, for example 127.0.0.1:8443 or [::1]:8443"
    }
}
