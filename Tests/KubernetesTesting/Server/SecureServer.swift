import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import NIOWebSocket

/// A server with TLS on 127.0.0.1 whose answers a closure gives: the API server, and in tests webhooks and registries.
package final class SecureServer: Sendable {
    package let port: Int
    private let channel: any Channel
    private let group: MultiThreadedEventLoopGroup

    private init(_ channel: any Channel, _ group: MultiThreadedEventLoopGroup) {
        self.channel = channel
        self.group = group
        port = channel.localAddress?.port ?? 0
    }

    package var url: String { "https://127.0.0.1:\(port)" }

    /// - Parameters:
    ///   - clients: whose certificates are accepted from clients, who need none.
    ///   - exec: whose containers WebSocket connections reach.
    ///   - port: 0 for a free one.
    package static func start(
        _ identity: TestAuthority.Identity, clients: TestAuthority? = nil, exec cluster: StandInCluster? = nil,
        port: Int = 0, _ answer: @escaping @Sendable (APIRequest) async -> APIAnswer
    ) async throws -> SecureServer {
        var tls = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMBytes(Array(identity.certificate.utf8)).map {
                .certificate($0)
            },
            privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(identity.key.utf8), format: .pem)))
        if let clients {
            // A certificate is one way among others to say who one is.
            tls.certificateVerification = .optionalVerification
            tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(clients.pem.utf8)))
        }
        tls.applicationProtocols = ["http/1.1"]
        let context = try NIOSSLContext(configuration: tls)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(NIOSSLServerHandler(context: context))
                    if let cluster {
                        try pipeline.configureHTTPServerPipeline(
                            withServerUpgrade: (
                                upgraders: [ExecUpgrade.upgrader(cluster)],
                                completionHandler: { context in
                                    let pipeline = context.pipeline.syncOperations
                                    guard let own = try? pipeline.context(handlerType: APIConnectionHandler.self) else {
                                        return
                                    }
                                    pipeline.removeHandler(context: own, promise: nil)
                                }
                            ))
                    } else {
                        try pipeline.configureHTTPServerPipeline()
                    }
                    try pipeline.addHandler(APIConnectionHandler(answer))
                }
            }
        do {
            return SecureServer(try await bootstrap.bind(host: "127.0.0.1", port: port).get(), group)
        } catch {
            try? await group.shutdownGracefully()
            throw error
        }
    }

    package func stop() async throws {
        try await channel.close()
        try await group.shutdownGracefully()
    }
}

/// Reads the requests of one connection and writes their answers, one after another.
final class APIConnectionHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let answer: @Sendable (APIRequest) async -> APIAnswer
    private var head: HTTPRequestHead?
    private var body: [UInt8] = []
    private var task: Task<Void, Never>?

    init(_ answer: @escaping @Sendable (APIRequest) async -> APIAnswer) { self.answer = answer }

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
            let answer = self.answer
            let keepsAlive = head.isKeepAlive
            task = Task {
                await APIConnectionHandler.answer(request, by: answer, on: channel, keepsAlive: keepsAlive)
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
        _ request: APIRequest, by answer: @Sendable (APIRequest) async -> APIAnswer, on channel: any Channel,
        keepsAlive: Bool
    ) async {
        let answer = await answer(request)
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
