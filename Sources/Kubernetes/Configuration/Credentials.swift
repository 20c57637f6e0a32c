import Glibc
import Logging
import NIOSSL
import Runtime

/// What requests are sent with: the header `Authorization`, and whom TLS trusts and shows.
///
/// Files are read again at least each minute, since tokens, certificates and authorities are replaced while the program
/// runs; a file that is broken then is reported, and what was read before stays in use.
actor Credentials {
    struct Current: Sendable {
        let authorization: String?
        /// nil for a server without TLS.
        let tls: TLSConfiguration?
        /// Tells credentials apart that were loaded at different times.
        let generation: UInt64
    }

    /// How old what was read from files may be, in nanoseconds.
    static let maximumAge: Int64 = 60_000_000_000
    /// How long before its end a plugin's credential is replaced, in nanoseconds.
    private static let reserve: Int64 = 10_000_000_000
    /// How long a plugin may run.
    private static let patience = Duration.seconds(60)

    private let connection: ClusterConnection
    private let environment: [String: String]
    private let logger: Logger
    /// Nanoseconds since 1970.
    private let now: @Sendable () -> Int64
    private let pool = BlockingPool(name: "kubernetes-keys", threads: 1)
    private var current: (value: Current, until: Int64?, sources: Sources)?
    private var loading: Task<Current, any Error>?
    private var generation: UInt64 = 0

    init(
        _ connection: ClusterConnection, environment: [String: String], logger: Logger,
        now: @escaping @Sendable () -> Int64
    ) {
        self.connection = connection
        self.environment = environment
        self.logger = logger
        self.now = now
    }

    /// - Throws: `KubernetesError.configuration`.
    func value() async throws -> Current {
        if let current, current.until.map({ now() < $0 }) ?? true { return current.value }
        if let loading { return try await loading.value }
        // A task of its own: one caller's cancellation must not fail the others that wait for the same credentials.
        let task = Task { try await load() }
        loading = task
        defer { loading = nil }
        return try await task.value
    }

    /// Has credentials loaded anew that a server has refused.
    /// - Returns: whether others may be had at all.
    func refuse(_ generation: UInt64) -> Bool {
        switch connection.login {
        case .exec, .tokenFile:
            // Somebody else may have replaced them already.
            if current?.value.generation == generation { current?.until = .min }
            return true
        default: return false
        }
    }

    nonisolated func stop() { pool.stop() }

    /// What credentials are made of, to see whether it has changed.
    private struct Sources: Sendable, Equatable {
        var authorization: String?
        var authority: [UInt8]?
        var certificate: [UInt8]?
        var key: [UInt8]?
        var expiration: Int64?
        var isFromFiles = false
    }

    private func load() async throws -> Current {
        let (connection, environment) = (connection, environment)
        let sources: Sources
        do {
            sources = try await pool.run { () throws(KubernetesError) in
                try Self.read(connection, environment)
            }
        } catch {
            guard let current, current.until != .min, current.sources.isFromFiles else { throw error }
            logger.warning("Credentials can't be read again, the old ones stay in use", metadata: ["error": "\(error)"])
            self.current?.until = now() + Self.maximumAge / 6
            return current.value
        }
        let until =
            sources.expiration.map { $0 - Self.reserve } ?? (sources.isFromFiles ? now() + Self.maximumAge : nil)
        if let current, current.sources == sources {
            self.current = (current.value, until, sources)
            return current.value
        }
        let tls: TLSConfiguration?
        do throws(KubernetesError) { tls = try Self.tls(connection, sources) } catch {
            guard let current else { throw error }
            logger.warning("Certificates can't be used, the old ones stay in use", metadata: ["error": "\(error)"])
            self.current?.until = now() + Self.maximumAge / 6
            return current.value
        }
        generation += 1
        let value = Current(authorization: sources.authorization, tls: tls, generation: generation)
        current = (value, until, sources)
        return value
    }

    private static func read(
        _ connection: ClusterConnection, _ environment: [String: String]
    ) throws(KubernetesError) -> Sources {
        var sources = Sources()
        func bytes(_ source: Kubeconfig.Source) throws(KubernetesError) -> [UInt8] {
            switch source {
            case .bytes(let bytes): return bytes
            case .file(let path):
                sources.isFromFiles = true
                do throws(SmallFile.Failure) { return try SmallFile.read(path, maximum: Kubeconfig.maximumFile) } catch
                {
                    throw .configuration(error.description)
                }
            }
        }
        if let authority = connection.authority { sources.authority = try bytes(authority) }
        if let (certificate, key) = connection.identity {
            sources.certificate = try bytes(certificate)
            sources.key = try bytes(key)
        }
        switch connection.login {
        case .none: break
        case .token(let token): sources.authorization = try bearer(token, "the token")
        case .basic(let user, let password):
            sources.authorization = "Basic " + Base64.encode(Array("\(user):\(password)".utf8))
        case .tokenFile(let path):
            sources.authorization = try bearer(String(decoding: try bytes(.file(path)), as: UTF8.self), path)
        case .exec(let plugin):
            let credential = try plugin.run(within: patience, environment: environment)
            if let token = credential.token { sources.authorization = try bearer(token, "the plugin's token") }
            if let certificate = credential.certificate, let key = credential.key {
                (sources.certificate, sources.key) = (certificate, key)
            }
            sources.expiration = credential.expiration
        }
        return sources
    }

    private static func bearer(_ text: String, _ what: String) throws(KubernetesError) -> String {
        let token = text.split(whereSeparator: \.isWhitespace)
        guard token.count == 1, token[0].utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
            throw .configuration("\(what) is no token")
        }
        return "Bearer \(token[0])"
    }

    private static func tls(
        _ connection: ClusterConnection, _ sources: Sources
    ) throws(KubernetesError) -> TLSConfiguration? {
        guard connection.endpoint.isTLS else { return nil }
        var tls = TLSConfiguration.makeClientConfiguration()
        if connection.skipsVerification { tls.certificateVerification = .none }
        if let authority = sources.authority {
            guard let roots = try? NIOSSLCertificate.fromPEMBytes(authority), !roots.isEmpty else {
                throw .configuration("the certificate authority is no PEM certificate")
            }
            tls.trustRoots = .certificates(roots)
        }
        if let certificate = sources.certificate, let key = sources.key {
            guard let chain = try? NIOSSLCertificate.fromPEMBytes(certificate), !chain.isEmpty,
                let key = try? NIOSSLPrivateKey(bytes: key, format: .pem)
            else { throw .configuration("the client's certificate or its key is no PEM") }
            tls.certificateChain = chain.map { .certificate($0) }
            tls.privateKey = .privateKey(key)
        }
        return tls
    }
}
