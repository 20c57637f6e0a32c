import Identity
public import NIOSSL

/// A certificate chain and its key, in files, and whose client certificates are believed.
public struct TLSFiles: Hashable, Sendable {
    /// In bytes, for each file.
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

    /// What a listener needs: TLS 1.2 or 1.3 with ciphers that have forward secrecy.
    ///
    /// ALPN offers HTTP/2 and HTTP/1.1; who does not take part in it speaks HTTP/1.1.
    ///
    /// With authorities for them, clients are asked for a certificate. Who has none goes on without; one that those
    /// authorities don't vouch for, or that is not for clients, ends the handshake.
    /// - Throws: `ServerError.tls` if a file can't be read or the key is not the certificate's.
    public func configuration() throws(ServerError) -> TLSConfiguration { try load().configuration }

    /// Reads the files and checks that they fit.
    func load() throws(ServerError) -> (configuration: TLSConfiguration, context: NIOSSLContext) {
        do {
            let chain = try Self.certificates(certificate)
            let key = try NIOSSLPrivateKey(bytes: try Self.bytes(key), format: .pem)
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
            configuration.minimumTLSVersion = .tlsv12
            configuration.applicationProtocols = offersHTTP2 ? ["h2", "http/1.1"] : ["http/1.1"]
            if let clientAuthority {
                configuration.trustRoots = .certificates(try Self.certificates(clientAuthority))
                configuration.certificateVerification = .optionalVerification
                // So that clients can choose, and those with another authority's certificate don't send it.
                configuration.sendCANameList = true
            }
            return (configuration, try NIOSSLContext(configuration: configuration))
        } catch {
            throw .tls("\(paths.joined(separator: " and ")) can't be used: \(error)")
        }
    }

    private struct NoCertificate: Error, CustomStringConvertible {
        let path: String
        var description: String { "there is no certificate in \(path)" }
    }

    private static func certificates(_ path: String) throws -> [NIOSSLCertificate] {
        let certificates = try NIOSSLCertificate.fromPEMBytes(try bytes(path))
        guard !certificates.isEmpty else { throw NoCertificate(path: path) }
        return certificates
    }

    private static func bytes(_ path: String) throws -> [UInt8] {
        Array(try PrivateFile.read(path, maximum: maximumSize).utf8)
    }
}
