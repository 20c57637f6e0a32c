import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import NIOWebSocket

/// A stand-in cluster that listens with TLS on a free port of 127.0.0.1.
public final class StandInServer: Sendable {
    public let cluster: StandInCluster
    public let authority: TestAuthority
    public let port: Int
    private let channel: any Channel
    private let group: MultiThreadedEventLoopGroup

    private init(
        _ cluster: StandInCluster, _ authority: TestAuthority, _ channel: any Channel, _ port: Int,
        _ group: MultiThreadedEventLoopGroup
    ) {
        self.cluster = cluster
        self.authority = authority
        self.channel = channel
        self.port = port
        self.group = group
    }

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
        var tls = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMBytes(Array(identity.certificate.utf8)).map {
                .certificate($0)
            },
            privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(identity.key.utf8), format: .pem)))
        // A certificate is one way among others to say who one is.
        tls.certificateVerification = .optionalVerification
        tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(authority.pem.utf8)))
        tls.applicationProtocols = ["http/1.1"]
        let context = try NIOSSLContext(configuration: tls)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let secure = NIOSSLServerHandler(context: context)
                    try channel.pipeline.syncOperations.addHandler(secure)
                    let handler = APIConnectionHandler(cluster)
                    let upgrader = ExecUpgrade.upgrader(cluster)
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline(
                        withServerUpgrade: (
                            upgraders: [upgrader],
                            completionHandler: { context in
                                let pipeline = context.pipeline.syncOperations
                                guard let own = try? pipeline.context(handlerType: APIConnectionHandler.self) else { return }
                                pipeline.removeHandler(context: own, promise: nil)
                            }
                        ))
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
        do {
            let channel = try await bootstrap.bind(host: "127.0.0.1", port: port).get()
            await cluster.prepare()
            return StandInServer(cluster, authority, channel, channel.localAddress?.port ?? 0, group)
        } catch {
            try? await group.shutdownGracefully()
            throw error
        }
    }

    public func stop() async throws {
        await cluster.breakWatches()
        await cluster.webhooks.shutdown()
        try await channel.close()
        try await group.shutdownGracefully()
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

/// Reads the requests of one connection and writes their answers, one after another.
final class APIConnectionHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let cluster: StandInCluster
    private var head: HTTPRequestHead?
    private var body: [UInt8] = []
    private var task: Task<Void, Never>?

    init(_ cluster: StandInCluster) { self.cluster = cluster }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            body = []
        case .body(let buffer):
            // Bounded: one byte more than what the API server takes makes it refuse the body.
            if body.count <= 3 << 20 { body += Array(buffer.readableBytesView) }
        case .end:
            guard let head else { return }
            self.head = nil
            let request = Self.request(head, body, context)
            let channel = context.channel
            let cluster = self.cluster
            let keepsAlive = head.isKeepAlive
            task = Task {
                await APIConnectionHandler.answer(request, from: cluster, on: channel, keepsAlive: keepsAlive)
            }
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        task?.cancel()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    static func request(_ head: HTTPRequestHead, _ body: [UInt8], _ context: ChannelHandlerContext) -> APIRequest {
        let secure = try? context.pipeline.syncOperations.handler(type: NIOSSLServerHandler.self)
        let certificate = try? secure?.peerCertificate?.toDERBytes()
        var headers: [String: String] = [:]
        // "Accept" may come in several lines.
        for (name, value) in head.headers {
            let name = name.lowercased()
            headers[name] = headers[name].map { $0 + "," + value } ?? value
        }
        return APIRequest(
            method: head.method.rawValue, target: head.uri, headers: headers, body: body,
            certificateUser: certificate.flatMap(TestAuthority.user(ofDER:)))
    }

    private static func answer(
        _ request: APIRequest, from cluster: StandInCluster, on channel: any Channel, keepsAlive: Bool
    ) async {
        let answer = await cluster.handle(request)
        do {
            try await write(answer, to: channel, keepsAlive: keepsAlive)
        } catch {
            channel.close(promise: nil)
        }
    }

    private static func write(_ answer: APIAnswer, to channel: any Channel, keepsAlive: Bool) async throws {
        var head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: answer.code))
        head.headers.add(name: "Content-Type", value: answer.contentType)
        for (name, value) in answer.headers { head.headers.add(name: name, value: value) }
        if !keepsAlive { head.headers.add(name: "Connection", value: "close") }
        switch answer.body {
        case .nothing:
            try await channel.close()
        case .bytes(let bytes):
            head.headers.add(name: "Content-Length", value: String(bytes.count))
            channel.write(HTTPServerResponsePart.head(head), promise: nil)
            channel.write(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(bytes: bytes))), promise: nil)
            try await channel.writeAndFlush(HTTPServerResponsePart.end(nil))
            if !keepsAlive { try await channel.close() }
        case .stream(let stream):
            head.headers.add(name: "Transfer-Encoding", value: "chunked")
            try await channel.writeAndFlush(HTTPServerResponsePart.head(head))
            // Each piece waits until the one before it is on its way: the stream's bound is what a slow reader fills.
            for await bytes in stream {
                try await channel.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(bytes: bytes))))
            }
            try await channel.writeAndFlush(HTTPServerResponsePart.end(nil))
            if !keepsAlive { try await channel.close() }
        }
    }
}
