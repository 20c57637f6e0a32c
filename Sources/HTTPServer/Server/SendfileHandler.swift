import NIOCore

/// Turns `SendFile` into a file region, which NIO gives to sendfile. It stands in plain pipelines only: under TLS the
/// event finds no taker and fails with an error, where a file region would end the process.
final class SendfileHandler: ChannelOutboundHandler {
    typealias OutboundIn = IOData
    typealias OutboundOut = IOData

    private let statistics: ServerStatistics

    init(statistics: ServerStatistics) { self.statistics = statistics }

    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        guard let event = event as? SendFile else {
            context.triggerUserOutboundEvent(event, promise: promise)
            return
        }
        statistics.addSystem(event.region.readableBytes)
        context.writeAndFlush(Self.wrapOutboundOut(.fileRegion(event.region)), promise: promise)
    }
}
