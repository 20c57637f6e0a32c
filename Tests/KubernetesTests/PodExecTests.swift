import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOWebSocket
import Synchronization
import Testing

@testable import Kubernetes

/// A server of WebSocket sessions by the channel protocol, whose frames a test writes.
private enum SessionServer {
    typealias Channel = NIOAsyncChannel<WebSocketFrame, WebSocketFrame>
    typealias Session =
        @Sendable (
            NIOAsyncChannelInboundStream<WebSocketFrame>, NIOAsyncChannelOutboundWriter<WebSocketFrame>
        ) async throws -> Void

    /// - Parameter protocolName: nil for a server that refuses sessions.
    static func with(
        protocolName: String? = "v5.channel.k8s.io", _ session: @escaping Session,
        _ body: @escaping @Sendable (KubernetesClient, _ uris: @Sendable () -> [String]) async throws -> Void
    ) async throws {
        let uris = Uris()
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .bind(host: "127.0.0.1", port: 0) { channel in
                channel.eventLoop.makeCompletedFuture {
                    let upgrader = NIOTypedWebSocketServerUpgrader<Channel?>(
                        maxFrameSize: 1 << 20,
                        shouldUpgrade: { channel, head in
                            uris.add(head.uri)
                            let isOffered = head.headers["Sec-WebSocket-Protocol"].joined().contains(
                                protocolName ?? "-")
                            let headers = protocolName.map { ["Sec-WebSocket-Protocol": $0] as HTTPHeaders }
                            return channel.eventLoop.makeSucceededFuture(isOffered ? headers : nil)
                        },
                        upgradePipelineHandler: { channel, _ in
                            channel.eventLoop.makeCompletedFuture { try Channel(wrappingChannelSynchronously: channel) }
                        })
                    return try channel.pipeline.syncOperations.configureUpgradableHTTPServerPipeline(
                        configuration: .init(upgradeConfiguration: .init(upgraders: [upgrader]) { refuse($0) }))
                }
            }
        let port = listener.channel.localAddress?.port ?? 0
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await listener.executeThenClose { connections in
                    for try await connection in connections {
                        guard let channel = try await connection.get() else { continue }
                        try? await channel.executeThenClose { try await session($0, $1) }
                    }
                }
            }
            defer { group.cancelAll() }
            let connection = try ClusterConnection(url: "http://127.0.0.1:\(port)", token: "t")
            try await withClient(connection) { try await body($0, { uris.all }) }
        }
    }

    private static func refuse(_ channel: any NIOCore.Channel) -> EventLoopFuture<Channel?> {
        let body = ByteBuffer(string: #"{"kind":"Status","code":403,"reason":"Forbidden"}"#)
        let head = HTTPResponseHead(
            version: .http1_1, status: .forbidden, headers: ["Content-Length": "\(body.readableBytes)"])
        channel.write(HTTPServerResponsePart.head(head), promise: nil)
        channel.write(HTTPServerResponsePart.body(.byteBuffer(body)), promise: nil)
        return channel.writeAndFlush(HTTPServerResponsePart.end(nil)).map { nil }
    }

    private final class Uris: Sendable {
        private let list = Mutex<[String]>([])
        var all: [String] { list.withLock { $0 } }
        func add(_ uri: String) { list.withLock { $0.append(uri) } }
    }
}

private func message(_ channel: UInt8, _ text: String, isEnd: Bool = true) -> WebSocketFrame {
    WebSocketFrame(fin: isEnd, opcode: .binary, data: ByteBuffer(bytes: [channel] + text.utf8))
}

private let success = message(3, #"{"kind":"Status","status":"Success"}"#)

@Suite("Commands in containers")
struct PodExecTests {
    @Test("output, input and the exit status go over their channels")
    func session() async throws {
        try await SessionServer.with { inbound, outbound in
            var input: [UInt8] = []
            reading: for try await frame in inbound {
                let bytes = Array(frame.unmaskedData.readableBytesView)
                if bytes.first == 0 { input += bytes.dropFirst() }
                if bytes == [255, 0] { break reading }
            }
            try await outbound.write(message(1, ""))
            try await outbound.write(message(1, "got \(input.count)"))
            try await outbound.write(WebSocketFrame(fin: true, opcode: .ping, data: ByteBuffer(string: "?")))
            try await outbound.write(message(2, "in two ", isEnd: false))
            try await outbound.write(
                WebSocketFrame(fin: true, opcode: .continuation, data: ByteBuffer(string: "parts")))
            try await outbound.write(
                message(
                    3,
                    #"{"kind":"Status","status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}"#
                ))
            try await outbound.write(WebSocketFrame(fin: true, opcode: .connectionClose, data: ByteBuffer()))
            for try await _ in inbound {}
        } _: { client, uris in
            let printed = Mutex<[ExecOutput]>([])
            let status = try await client.exec(
                ["sh", "-c", "a b"], in: "p", namespace: "apps",
                input: { try await $0.write([UInt8](repeating: 65, count: 100_000)) }
            ) { output in printed.withLock { $0.append(output) } }
            #expect(status == 7)
            #expect(
                uris() == [
                    "/api/v1/namespaces/apps/pods/p/exec?command=sh&command=-c&command=a%20b&stdin=true&stdout=true&stderr=true"
                ])
            #expect(
                printed.withLock { $0 } == [
                    .standardOutput(Array("got 100000".utf8)), .standardError(Array("in two ".utf8)),
                    .standardError(Array("parts".utf8)),
                ])
        }
    }

    @Test("servers that know v4 only are understood")
    func oldServer() async throws {
        try await SessionServer.with(protocolName: "v4.channel.k8s.io") { inbound, outbound in
            try await outbound.write(success)
            try await outbound.write(WebSocketFrame(fin: true, opcode: .connectionClose, data: ByteBuffer()))
            for try await _ in inbound {}
        } _: { client, _ in
            #expect(try await client.exec(["true"], in: "p", namespace: "apps", output: { _ in }) == 0)
        }
    }

    @Test("a session that is refused says why")
    func refused() async throws {
        try await SessionServer.with(protocolName: nil) { _, _ in
        } _: { client, _ in
            let error = try await kubernetesError {
                _ = try await client.exec(["true"], in: "p", namespace: "apps", output: { _ in })
            }
            #expect(error?.status == APIStatus(code: 403, reason: "Forbidden"))
        }
    }

    @Test("a session that breaks off, or takes too long, leaves the command's end unknown")
    func brokenSession() async throws {
        try await SessionServer.with { _, outbound in
            try await outbound.write(message(1, "half"))
        } _: { client, _ in
            let error = try await kubernetesError {
                _ = try await client.exec(["true"], in: "p", namespace: "apps", output: { _ in })
            }
            guard case .unknown = error else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
        try await SessionServer.with { inbound, _ in
            for try await _ in inbound {}
        } _: { client, _ in
            let error = try await kubernetesError {
                _ = try await client.exec(
                    ["true"], in: "p", namespace: "apps", within: .milliseconds(300), output: { _ in })
            }
            #expect(error == .unknown("a command in apps/p takes too long"))
        }
    }
}
