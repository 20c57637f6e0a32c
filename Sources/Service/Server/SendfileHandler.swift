import NIOCore

/// Turns `SendFile` into a file region, which NIO gives to sendfile. It stands in plain pipelines only: under TLS the
/// event finds no taker and fails with an error, where a file region would end the process.
final class SendfileHandler: ChannelOutboundHandler {
    typealias OutboundIn = IOData
    typealias OutboundOut = IOData

    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        guard let event = event as? SendFile else {
            context.triggerUserOutboundEvent(event, promise: promise)
            return
        }
        context.writeAndFlush(Self.wrapOutboundOut(.fileRegion(event.region)), promise: promise)
    }
}
