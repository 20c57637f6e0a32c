import NIOCore

/// Looks, below TLS, at a connection's first byte. If it begins a request of plain HTTP and not a TLS record, it answers
/// in plain HTTP that this port speaks HTTPS, and closes the connection. Else it gives way to TLS.
final class PlainRequestHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// In the form that registries' clients print; which API was meant is not known.
    private static let answer: String = {
        let text =
            #"{"errors":[{"code":"UNSUPPORTED","message":"this port speaks HTTPS and was sent plain HTTP: "#
            + #"begin the address with https://"}]}"# + "\n"
        return "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
            + "Content-Length: \(text.utf8.count)\r\nConnection: close\r\n\r\n\(text)"
    }()

    private let lingerTime: Duration
    private var wasAnswered = false

    /// - Parameter lingerTime: how long what the client still sends is read and discarded, since a reset would destroy
    ///   the answer on its way.
    init(lingerTime: Duration) { self.lingerTime = lingerTime }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !wasAnswered else { return }
        let buffer = Self.unwrapInboundIn(data)
        guard let first = buffer.getInteger(at: buffer.readerIndex, as: UInt8.self) else { return }
        // A TLS record begins with its type, which is no letter (RFC 8446, section 5.1); a method begins with a letter.
        switch first {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"): refuse(context)
        default:
            context.fireChannelRead(data)
            context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
        }
    }

    private func refuse(_ context: ChannelHandlerContext) {
        wasAnswered = true
        context.writeAndFlush(
            Self.wrapOutboundOut(context.channel.allocator.buffer(string: Self.answer)), promise: nil)
        context.close(mode: .output, promise: nil)
        context.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(lingerTime)) { context.close(promise: nil) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if wasAnswered, case ChannelEvent.inputClosed? = event as? ChannelEvent {
            context.close(promise: nil)
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }
}
