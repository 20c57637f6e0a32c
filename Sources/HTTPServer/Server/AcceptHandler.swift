import Identity
import Logging
import NIOCore

/// Stands at a listening socket: keeps the number of open connections within a bound and survives errors of accept.
///
/// While the bound is reached, or for a moment after an accept failed, nothing is accepted: clients wait in the
/// backlog. An address has a bound of its own, beyond which its connections are closed as they come, so that one client
/// alone can't reach the common bound.
final class AcceptHandler: ChannelDuplexHandler {
    typealias InboundIn = any Channel
    typealias InboundOut = any Channel
    typealias OutboundIn = Never
    typealias OutboundOut = Never

    /// How long accepting rests after it failed.
    static let rest = TimeAmount.milliseconds(100)

    /// Closed connections are logged once in this time.
    static let logged = TimeAmount.seconds(60)

    private let maximum: Int
    private let maximumOfAddress: Int
    private let logger: Logger
    private var open = 0
    private var openOfAddress: [ClientAddress: Int] = [:]
    private var nextLog = NIODeadline.uptimeNanoseconds(0)
    private var isResting = false
    private var wantsRead = false

    init(maximum: Int, maximumOfAddress: Int, logger: Logger) {
        self.maximum = maximum
        self.maximumOfAddress = maximumOfAddress
        self.logger = logger
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let channel = Self.unwrapInboundIn(data)
        let address = ClientAddress(channel.remoteAddress)
        let count = openOfAddress[address] ?? 0
        guard count < maximumOfAddress else {
            refuse(channel, context)
            return
        }
        open += 1
        openOfAddress[address] = count + 1
        let resume = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        channel.closeFuture.hop(to: context.eventLoop).whenComplete { _ in
            let (handler, context) = resume.value
            handler.closed(address)
            handler.readIfWanted(context)
        }
        context.fireChannelRead(data)
    }

    private func closed(_ address: ClientAddress) {
        open -= 1
        let count = (openOfAddress[address] ?? 0) - 1
        openOfAddress[address] = count > 0 ? count : nil
    }

    private func refuse(_ channel: any Channel, _ context: ChannelHandlerContext) {
        let now = context.eventLoop.now
        if now >= nextLog {
            nextLog = now + Self.logged
            logger.warning(
                "an address has too many connections: new ones are closed",
                metadata: ["peer": "\(channel.remoteAddress?.ipAddress ?? "-")", "maximum": "\(maximumOfAddress)"])
        }
        channel.close(promise: nil)
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
