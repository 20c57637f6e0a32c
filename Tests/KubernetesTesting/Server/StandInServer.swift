import Foundation

/// A stand-in cluster that listens with TLS on a free port of 127.0.0.1.
public final class StandInServer: Sendable {
    public let cluster: StandInCluster
    public let authority: TestAuthority
    private let server: SecureServer

    private init(_ cluster: StandInCluster, _ authority: TestAuthority, _ server: SecureServer) {
        self.cluster = cluster
        self.authority = authority
        self.server = server
    }

    public var port: Int { server.port }
    public var url: String { "https://127.0.0.1:\(port)" }

    /// Gives a started server to the body and stops it afterwards.
    /// - Returns: what the body returns.
    public static func run<Value: Sendable>(
        _ cluster: StandInCluster = StandInCluster(), _ body: (StandInServer) async throws -> Value
    ) async throws -> Value {
        let server = try await start(cluster)
        do {
            let value = try await body(server)
            try await server.stop()
            return value
        } catch {
            // The body's error is the one to report.
            try? await server.stop()
            throw error
        }
    }

    /// - Parameter port: 0 for a free one.
    public static func start(
        _ cluster: StandInCluster, authority: TestAuthority? = nil, port: Int = 0
    ) async throws -> StandInServer {
        let authority = try authority ?? TestAuthority()
        let identity = try authority.server(names: ["kubernetes", "kubernetes.default.svc"])
        let server = try await SecureServer.start(identity, clients: authority, exec: cluster, port: port) {
            await cluster.handle($0)
        }
        await cluster.prepare()
        return StandInServer(cluster, authority, server)
    }

    public func stop() async throws {
        await cluster.breakWatches()
        await cluster.webhooks.shutdown()
        try await server.stop()
    }

    /// A kubeconfig with a token, which is made the user's.
    public func kubeconfig(_ user: User = .admin, token: String = "admin-token") async -> String {
        await cluster.add(user, token: token)
        return kubeconfig(user: "    token: \(token)\n")
    }

    /// A kubeconfig with a client's certificate.
    public func kubeconfig(certificateOf user: User) throws -> String {
        let identity = try authority.client(user)
        return kubeconfig(
            user: "    client-certificate-data: \(Base64.encode(Array(identity.certificate.utf8)))\n"
                + "    client-key-data: \(Base64.encode(Array(identity.key.utf8)))\n")
    }

    private func kubeconfig(user: String) -> String {
        """
        apiVersion: v1
        kind: Config
        clusters:
        - name: stand-in
          cluster:
            server: \(url)
            certificate-authority-data: \(Base64.encode(Array(authority.pem.utf8)))
        users:
        - name: user
          user:
        \(user)
        contexts:
        - name: stand-in
          context: {cluster: stand-in, user: user}
        current-context: stand-in

        """
    }
}
