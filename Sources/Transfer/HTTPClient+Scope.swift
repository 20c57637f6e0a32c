import AsyncHTTPClient
import NIOCore
import NIOSSL

extension HTTPClient {
    /// Runs a body with a client that speaks HTTP/1.1 and follows no redirect by itself, and closes its connections
    /// afterwards.
    /// - Parameters:
    ///   - authority: a PEM file with the only certificates that are trusted; nil: the system's.
    ///   - silence: how long a server may say nothing.
    static func with<Result: Sendable>(
        authority: String?, silence: TimeAmount, _ body: (HTTPClient) async throws -> Result
    ) async throws -> Result {
        var configuration = Configuration()
        configuration.timeout = .init(connect: .seconds(10), read: silence)
        configuration.redirectConfiguration = .disallow
        configuration.httpVersion = .http1Only
        // Who typed a wrong address wants to know it now, not after ten seconds of trying.
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
