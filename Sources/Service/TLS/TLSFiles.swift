import Logging
import NIOCertificateReloading
public import NIOSSL

/// A certificate chain and its key, in files.
public struct TLSFiles: Hashable, Sendable {
    /// PEM: the server's certificate first, then those that signed it.
    public let certificate: String
    /// PEM.
    public let key: String

    public init(certificate: String, key: String) {
        self.certificate = certificate
        self.key = key
    }

    /// What a listener needs: TLS 1.2 or 1.3 with ciphers that have forward secrecy.
    ///
    /// ALPN offers HTTP/1.1 only: no client that pulls images asks for HTTP/2 (they open parallel connections), and
    /// NIO's HTTP/2 channel builds a pipeline of its own, which would not be ours.
    ///
    /// The certificate comes from a reloader, so that files which change can be taken later by running it as a service.
    /// - Throws: `ServerError.tls` if a file can't be read or the key is not the certificate's.
    public func configuration() throws(ServerError) -> TLSConfiguration {
        do {
            var configuration = try TLSConfiguration.makeServerConfiguration(certificateReloader: reloader())
            configuration.minimumTLSVersion = .tlsv12
            configuration.applicationProtocols = ["http/1.1"]
            return configuration
        } catch {
            throw .tls("\(certificate) and \(key) can't be used: \(error)")
        }
    }

    private func reloader() throws -> TimedCertificateReloader {
        try .makeReloaderValidatingSources(
            refreshInterval: .seconds(30), certificateSource: .init(location: .file(path: certificate), format: .pem),
            privateKeySource: .init(location: .file(path: key), format: .pem))
    }
}
