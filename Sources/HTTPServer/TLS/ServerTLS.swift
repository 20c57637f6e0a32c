import FoundationEssentials
public import Identity
public import NIOSSL
import Runtime
import SwiftASN1
import Synchronization
import X509

/// A listener's TLS: certificate, key and clients' authorities, which can be replaced while it serves.
///
/// A handshake uses what is in force when its connection comes in. Open connections stay as they are, and sessions are
/// not resumed across a replacement, so that an authority that was withdrawn is not trusted again.
public final class ServerTLS: Sendable {
    let files: TLSFiles?
    private let inForce: Mutex<(context: NIOSSLContext, validity: [CertificateValidity])>
    /// Seconds since 1970.
    private let now: @Sendable () -> Int64

    /// - Throws: `ServerError.tls` if a file can't be read or the key is not the certificate's. A certificate that is not
    ///   valid now is taken, and warned of: users may be served better than not at all.
    public convenience init(_ files: TLSFiles) throws(ServerError) {
        try self.init(files, now: { Timestamp(nanoseconds: SystemClock.now()).seconds })
    }

    /// - Parameter now: seconds since 1970.
    init(_ files: TLSFiles, now: @escaping @Sendable () -> Int64) throws(ServerError) {
        self.files = files
        self.now = now
        let loaded = try files.load()
        inForce = Mutex((loaded.context, loaded.validity))
    }

    /// TLS of a configuration that is never replaced.
    public init(_ configuration: TLSConfiguration) throws(ServerError) {
        files = nil
        now = { 0 }
        do {
            inForce = Mutex((try NIOSSLContext(configuration: configuration), []))
        } catch {
            throw .tls("\(error)")
        }
    }

    var current: NIOSSLContext { inForce.withLock { $0.context } }

    /// The files that a reloader watches; empty if there are none, because this was made of a configuration.
    public var reloaded: [CredentialReloader.Group] {
        guard let files else { return [] }
        let certificates = CredentialReloader.Weaknesses("certificates are not valid, or not for long") {
            self.validity.compactMap { $0.sentence(at: self.now()) }
        }
        return [
            CredentialReloader.Group(name: "certificate and key", paths: files.paths, weaknesses: [certificates]) {
                try self.reload()
            }
        ]
    }

    /// Says so where a certificate in force has expired or soon will. The server is ready all the same: only clients
    /// know whether they mind.
    public var readiness: ReadinessCheck {
        ReadinessCheck("certificate") { [self] in validity.compactMap { $0.problem(at: now()) }.max()?.rawValue }
    }

    private var validity: [CertificateValidity] { inForce.withLock { $0.validity } }

    /// Puts in force what the files hold now, as one step.
    /// - Throws: `ServerError.tls`; what was in force then stays.
    func reload() throws(ServerError) {
        guard let files else { return }
        let new = try files.load()
        inForce.withLock { $0 = (new.context, new.validity) }
    }
}

/// The files with a certificate chain, its key, and the authorities whose client certificates are accepted.
public struct TLSFiles: Hashable, Sendable {
    /// The largest size of each file, in bytes.
    static let maximumSize = 1 << 20

    /// PEM: the server's certificate first, then those that signed it.
    public let certificate: String
    /// PEM.
    public let key: String
    /// PEM: the authorities that sign clients' certificates. nil: clients are not asked for one.
    public let clientAuthority: String?
    public let offersHTTP2: Bool

    public init(certificate: String, key: String, clientAuthority: String? = nil, offersHTTP2: Bool = true) {
        self.certificate = certificate
        self.key = key
        self.clientAuthority = clientAuthority
        self.offersHTTP2 = offersHTTP2
    }

    var paths: [String] { [certificate, key] + (clientAuthority.map { [$0] } ?? []) }

    /// The configuration of a listener: TLS 1.2 or 1.3 with ciphers that have forward secrecy.
    ///
    /// ALPN offers HTTP/1.1, and HTTP/2 if `offersHTTP2` is set; a client without ALPN speaks HTTP/1.1.
    ///
    /// With `clientAuthority`, clients are asked for a certificate. A client that has none goes on without; a
    /// certificate that is not signed by those authorities, or that is not for clients, ends the handshake.
    /// - Throws: `ServerError.tls` if a file can't be read or the key is not the certificate's.
    public func configuration() throws(ServerError) -> TLSConfiguration { try load().configuration }

    /// What the files hold.
    struct Loaded {
        let configuration: TLSConfiguration
        let context: NIOSSLContext
        let validity: [CertificateValidity]
    }

    /// Reads the files and checks that they fit.
    func load() throws(ServerError) -> Loaded {
        do {
            let chain = try Self.certificates(certificate)
            var validity = chain.map { CertificateValidity($0, path: certificate) }
            let key = try Self.key(key)
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
            configuration.minimumTLSVersion = .tlsv12
            configuration.applicationProtocols = offersHTTP2 ? ["h2", "http/1.1"] : ["http/1.1"]
            if let clientAuthority {
                let authorities = try Self.certificates(clientAuthority)
                validity += authorities.map { CertificateValidity($0, path: clientAuthority) }
                configuration.trustRoots = .certificates(authorities)
                configuration.certificateVerification = .optionalVerification
                // Clients learn the accepted authorities, so that they can choose and don't send another authority's
                // certificate.
                configuration.sendCANameList = true
            }
            do {
                return Loaded(
                    configuration: configuration, context: try NIOSSLContext(configuration: configuration),
                    validity: validity)
            } catch NIOSSLError.failedToLoadPrivateKey {
                throw ServerError.tls("\(self.key) is not the key of the certificate in \(certificate)")
            }
        } catch let error as ServerError {
            throw error
        } catch let error as AuthenticationError {
            throw .tls("\(error)")
        } catch {
            throw .tls("\(paths.joined(separator: " and ")) can't be used: \(error)")
        }
    }

    private static func certificates(_ path: String) throws -> [NIOSSLCertificate] {
        let text = try PrivateFile.read(path, maximum: maximumSize)
        let certificates = try? NIOSSLCertificate.fromPEMBytes(Array(text.utf8))
        guard let certificates, !certificates.isEmpty else {
            let label = "-----BEGIN CERTIFICATE-----"
            throw ServerError.tls(
                text.contains(label)
                    ? "\(path) has a certificate that can't be read"
                    : "\(path) has no certificate: it is to be PEM, with \(label)")
        }
        return certificates
    }

    private static func key(_ path: String) throws -> NIOSSLPrivateKey {
        let text = try PrivateFile.read(path, maximum: maximumSize)
        guard text.contains("PRIVATE KEY-----") else {
            throw ServerError.tls("\(path) has no private key: it is to be PEM, with -----BEGIN PRIVATE KEY-----")
        }
        // The library would ask for the password where there is a terminal.
        guard !text.contains("ENCRYPTED") else {
            throw ServerError.tls(
                "\(path) is encrypted, and nobody is there to type its password: take that off with "
                    + "`openssl pkey -in KEY -out PLAIN_KEY`")
        }
        guard let key = try? NIOSSLPrivateKey(bytes: Array(text.utf8), format: .pem) else {
            throw ServerError.tls("\(path) has a private key that can't be read")
        }
        return key
    }
}

/// What a client's certificate, which is verified already, says about its user.
///
/// The name is the subject's common name (CN). A certificate without one has its first URI name (`spiffe://…`), or
/// else its first DNS name, as its user. A subject with several common names stands for no user.
struct ClientCertificate: Sendable {
    /// nil if the certificate names no user.
    let user: String?
    let notValidAfter: Date

    init(_ certificate: NIOSSLCertificate) throws {
        let certificate = try Certificate(derEncoded: try certificate.toDERBytes())
        notValidAfter = certificate.notValidAfter
        user = Self.name(certificate).flatMap { Policy.isName($0) ? $0 : nil }
    }

    private static func name(_ certificate: Certificate) -> String? {
        let common = certificate.subject.flatMap { $0 }
            .filter { $0.type == .RDNAttributeType.commonName }
        if let first = common.first { return common.count == 1 ? String(first.value) : nil }
        guard let names = try? certificate.extensions.subjectAlternativeNames else { return nil }
        for case .uniformResourceIdentifier(let name) in names { return name }
        for case .dnsName(let name) in names { return name }
        return nil
    }
}
