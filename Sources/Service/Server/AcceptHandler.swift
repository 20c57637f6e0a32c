import Logging
import NIOCore

/// Stands at a listening socket: keeps the number of open connections within a bound and survives errors of accept.
///
/// While the bound is reached, or for a moment after an accept failed, nothing is accepted: clients wait in the backlog.
final class AcceptHandler: ChannelDuplexHandler {
    typealias InboundIn = any Channel
    typealias InboundOut = any Channel
    typealias OutboundIn = Never
    typealias OutboundOut = Never

    /// How long accepting rests after it failed.
    static let rest = TimeAmount.milliseconds(100)

    private let maximum: Int
    private let logger: Logger
    private var open = 0
    private var isResting = false
    private var wantsRead = false

    init(maximum: Int, logger: Logger) {
        self.maximum = maximum
        self.logger = logger
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        open += 1
        let resume = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        Self.unwrapInboundIn(data).closeFuture.hop(to: context.eventLoop).whenComplete { _ in
            let (handler, context) = resume.value
            handler.open -= 1
            handler.readIfWanted(context)
        }
        context.fireChannelRead(data)
    }

    func read(context: ChannelHandlerContext) {
        wantsRead = true
        readIfWanted(context)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        logger.warning("accepting connections rests for a moment", metadata: ["reason": "\(error)"])
        isResting = true
        wantsRead = true
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.rest) {
            self.isResting = false
            self.readIfWanted(context)
        }
    }

    private func readIfWanted(_ context: ChannelHandlerContext) {
        guard wantsRead, !isResting, open < maximum else { return }
        wantsRead = false
        context.read()
    }
}
