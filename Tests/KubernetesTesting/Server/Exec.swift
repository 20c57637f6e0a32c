import JSON
import NIOCore
import NIOHTTP1
import NIOWebSocket

/// What a program that is run in a container is given ("Get a Shell to a Running Container").
public struct ExecRequest: Sendable {
    public let namespace: String
    public let pod: String
    public let container: String
    public let command: [String]
    public let isTerminal: Bool
}

/// The streams of a program that runs in a container.
public struct ExecStreams: Sendable {
    /// Ends where the client closes it, which only `v5.channel.k8s.io` can say.
    public let input: AsyncStream<[UInt8]>
    public let output: @Sendable ([UInt8]) -> Void
    public let errors: @Sendable ([UInt8]) -> Void
}

/// `pods/exec` over WebSocket: binary messages whose first byte is the channel, 0 input, 1 output, 2 errors, 3 the end's
/// Status, 4 the terminal's size, and with `v5` 255 the number of a channel that is closed (KEP-4006).
enum ExecUpgrade {
    static let protocols = ["v5.channel.k8s.io", "v4.channel.k8s.io"]

    /// What is known of a request while it is upgraded.
    private final class Accepted: Sendable {
        let request: ExecRequest
        let name: String
        init(_ request: ExecRequest, _ name: String) {
            self.request = request
            self.name = name
        }
    }

    static func upgrader(_ cluster: StandInCluster) -> NIOWebSocketServerUpgrader {
        NIOWebSocketServerUpgrader(
            maxFrameSize: 1 << 20,
            shouldUpgrade: { channel, head in
                let promise = channel.eventLoop.makePromise(of: HTTPHeaders?.self)
                guard
                    let context = try? channel.pipeline.syncOperations.context(handlerType: APIConnectionHandler.self),
                    let name = chosen(head)
                else { return channel.eventLoop.makeSucceededFuture(nil) }
                let request = APIConnectionHandler.request(head, [], context)
                promise.completeWithTask {
                    // What is refused goes on as a plain request, whose answer says why.
                    guard await cluster.execRequest(request) != nil else { return nil }
                    return ["Sec-WebSocket-Protocol": name]
                }
                return promise.futureResult
            },
            upgradePipelineHandler: { channel, head in
                guard let name = chosen(head) else { return channel.close() }
                return channel.eventLoop.makeCompletedFuture {
                    let request = APIRequest(
                        method: "GET", target: head.uri,
                        headers: ["authorization": head.headers.first(name: "Authorization") ?? ""])
                    try channel.pipeline.syncOperations.addHandler(
                        ExecHandler(cluster, request, closesInput: name == protocols[0]))
                }
            })
    }

    private static func chosen(_ head: HTTPRequestHead) -> String? {
        let offered = head.headers[canonicalForm: "Sec-WebSocket-Protocol"].map(String.init)
        return protocols.first(where: offered.contains)
    }
}

/// One exec: frames in, frames out.
final class ExecHandler: ChannelInboundHandler {
    typealias InboundIn = WebSocketFrame
    typealias OutboundOut = WebSocketFrame

    private let cluster: StandInCluster
    private let request: APIRequest
    private let closesInput: Bool
    private let input: AsyncStream<[UInt8]>
    private let feed: AsyncStream<[UInt8]>.Continuation
    private var message: [UInt8] = []
    private var task: Task<Void, Never>?

    init(_ cluster: StandInCluster, _ request: APIRequest, closesInput: Bool) {
        self.cluster = cluster
        self.request = request
        self.closesInput = closesInput
        (input, feed) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(1000))
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        let cluster = self.cluster
        let request = self.request
        let input = self.input
        @Sendable func send(_ number: UInt8, _ bytes: [UInt8]) {
            let frame = WebSocketFrame(fin: true, opcode: .binary, data: ByteBuffer(bytes: [number] + bytes))
            channel.writeAndFlush(frame, promise: nil)
        }
        task = Task {
            let streams = ExecStreams(input: input, output: { send(1, $0) }, errors: { send(2, $0) })
            let status = await cluster.exec(request, streams)
            send(3, status.canonicalBytes)
            var code = channel.allocator.buffer(capacity: 2)
            code.writeInteger(UInt16(1000))
            channel.writeAndFlush(WebSocketFrame(fin: true, opcode: .connectionClose, data: code), promise: nil)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        switch frame.opcode {
        case .binary, .continuation, .text:
            message += Array(frame.unmaskedData.readableBytesView)
            guard frame.fin, let number = message.first else {
                if message.count > 1 << 20 { context.close(promise: nil) }
                return
            }
            let bytes = Array(message.dropFirst())
            message = []
            if number == 0 && !bytes.isEmpty { feed.yield(bytes) }
            if number == 255 && closesInput && bytes == [0] { feed.finish() }
        case .ping:
            let pong = WebSocketFrame(fin: true, opcode: .pong, data: frame.unmaskedData)
            context.writeAndFlush(wrapOutboundOut(pong), promise: nil)
        case .connectionClose:
            feed.finish()
            context.close(promise: nil)
        default: break
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        feed.finish()
        task?.cancel()
        context.fireChannelInactive()
    }
}
