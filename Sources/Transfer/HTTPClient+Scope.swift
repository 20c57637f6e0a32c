import AsyncHTTPClient
import NIOCore
import NIOSSL

extension HTTPClient {
    /// Runs a body with a client that speaks HTTP/1.1 and follows no redirect by itself, and closes its connections
    /// afterwards.
    /// - Parameters:
    ///   - authority: a PEM file with the only certificates that are trusted; nil: the system's.
    ///   - silence: how long a server may send nothing before the request fails.
    static func with<Result: Sendable>(
        authority: String?, silence: TimeAmount, _ body: (HTTPClient) async throws -> Result
    ) async throws -> Result {
        var configuration = Configuration()
        configuration.timeout = .init(connect: .seconds(10), read: silence)
        configuration.redirectConfiguration = .disallow
        configuration.httpVersion = .http1Only
        // A person who typed a wrong address wants to know it at once, not after ten seconds of trying.
        configuration.connectionPool.retryConnectionEstablishment = false
        if let authority {
            do {
                var tls = TLSConfiguration.makeClientConfiguration()
                tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(authority))
                configuration.tlsConfiguration = tls
            } catch {
                throw TransferError.configuration("the certificate authority '\(authority)' can't be read: \(error)")
            }
        }
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        do {
            let result = try await body(client)
            try await client.shutdown()
            return result
        } catch {
            try? await client.shutdown()
            throw error
        }
    }
}

/// The address of a Cistern server, and the user and password to ask it with.
public struct ServerConnection: Sendable {
    /// `https://host:port` or `http://host:port`, without a path.
    public let url: String
    public let user: String
    let password: String
    /// A PEM file with the authority that the server's certificate must be signed by; nil: the system's.
    public let authorityFile: String?

    /// - Parameter url: as above, its scheme in letters of any case (RFC 3986, section 3.1).
    public init(url: String, user: String, password: String, authorityFile: String?) {
        let url = url.withLowercaseScheme
        self.url = url.hasSuffix("/") ? String(url.dropLast()) : url
        self.user = user
        self.password = password
        self.authorityFile = authorityFile
    }
}

extension String {
    /// A URL's text with its scheme in small letters: the HTTP client knows no other.
    var withLowercaseScheme: String {
        let scheme = prefix { $0 != ":" }
        return scheme.lowercased() + self[scheme.endIndex...]
    }
}

extension ServerConnection: CustomStringConvertible, CustomReflectable {
    /// User and URL; the password is left out.
    public var description: String { "\(user) at \(url)" }
    public var customMirror: Mirror { Mirror(self, children: ["url": url, "user": user]) }
}

/// Why a transfer failed, in words for the person who asked for it.
public enum TransferError: Error, Hashable, Sendable {
    /// The server can't be reached, or its certificate is not trusted.
    case connection(server: String, reason: String)
    /// The server refused. `code` and `message` are the server's own, bounded and printable.
    case refused(status: Int, code: String, message: String, requestID: String)
    /// The answer is not one that a Cistern server gives.
    case unexpected(String)
    case file(path: String, reason: String)
    /// Another registry, from which an image was to be read, refused.
    case source(String)
    /// A URL, a CA file or another setting that can't be used.
    case configuration(String)
}

extension TransferError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .connection(let server, let reason): "can't reach \(server): \(reason)"
        case .refused(401, _, _, _):
            "the server does not know this user and password: check --user and --password-file"
        case .refused(403, _, let message, _):
            "this user may not do that: \(message.isEmpty ? "ask for the operator role" : message)"
        case .refused(let status, let code, let message, let requestID):
            "the server refused (\(status)\(code.isEmpty ? "" : " \(code)")): "
                + "\(message.isEmpty ? "no reason given" : message)\(requestID.isEmpty ? "" : " [request \(requestID)]")"
        case .unexpected(let reason): "the server's answer is not understood: \(reason)"
        case .file(let path, let reason): "\(path): \(reason)"
        case .configuration(let reason), .source(let reason): reason
        }
    }
}
