import Glibc
import Logging
import NIOCore

/// Keeps a listening socket alive when accepting fails: where descriptors or memory ran out it has another connection
/// closed, and it pauses for a moment.
final class AcceptHandler: ChannelDuplexHandler {
    typealias InboundIn = any Channel
    typealias InboundOut = any Channel
    typealias OutboundIn = Never
    typealias OutboundOut = Never

    /// How long accepting pauses after it failed.
    static let rest = TimeAmount.milliseconds(100)

    private let logger: Logger
    private let makeRoom: () -> Void
    private var isResting = false
    private var wantsRead = false

    init(logger: Logger, makeRoom: @escaping () -> Void) {
        self.logger = logger
        self.makeRoom = makeRoom
    }

    func read(context: ChannelHandlerContext) {
        wantsRead = true
        readIfWanted(context)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        logger.warning("accepting connections rests for a moment", metadata: ["reason": "\(error)"])
        if let error = error as? IOError, [EMFILE, ENFILE, ENOMEM, ENOBUFS].contains(error.errnoCode) { makeRoom() }
        isResting = true
        wantsRead = true
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.rest) {
            self.isResting = false
            self.readIfWanted(context)
        }
    }

    private func readIfWanted(_ context: ChannelHandlerContext) {
        guard wantsRead, !isResting else { return }
        wantsRead = false
        context.read()
    }
}
