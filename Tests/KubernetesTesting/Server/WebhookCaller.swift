import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import NIOSSL

/// Calls webhooks over HTTPS, trusting the authority that their configuration names and no other.
actor WebhookCaller {
    struct Failure: Error, CustomStringConvertible { let description: String }

    private var clients: [[UInt8]: HTTPClient] = [:]

    /// - Parameters:
    ///   - authority: PEM; nil for the system's.
    ///   - seconds: after which the call fails.
    func call(_ url: String, authority: [UInt8]?, body: [UInt8], seconds: Int) async throws -> [UInt8] {
        var request = HTTPClientRequest(url: url)
        request.method = .POST
        request.headers.add(name: "Content-Type", value: "application/json")
        request.body = .bytes(ByteBuffer(bytes: body))
        let response = try await client(authority).execute(request, timeout: .seconds(Int64(seconds)))
        guard response.status == .ok else { throw Failure(description: "the server answered \(response.status)") }
        return Array(try await response.body.collect(upTo: 3 << 20).readableBytesView)
    }

    private func client(_ authority: [UInt8]?) throws -> HTTPClient {
        let key = authority ?? []
        if let client = clients[key] { return client }
        var tls = TLSConfiguration.makeClientConfiguration()
        if let authority { tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(authority)) }
        var configuration = HTTPClient.Configuration(tlsConfiguration: tls)
        configuration.timeout.connect = .seconds(5)
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        clients[key] = client
        return client
    }

    func shutdown() async {
        for client in clients.values { try? await client.shutdown() }
        clients = [:]
    }
}
