import NIOCore

/// A handler that keeps the deadlines of a `ConnectionState`, for a connection or for a stream: the timer, and what is
/// done when it fires.
protocol DeadlineKeeper: AnyObject {
    var state: ConnectionState { get set }
    var timer: DeadlineTimer { get set }
    /// The socket whose progress the system tells.
    var socket: any Channel { get }

    /// What counts as this handler's own progress, given the socket's.
    func progress(_ ofSocket: ConnectionState.Progress?) -> ConnectionState.Progress?
    /// Closes the connection, or the stream, at once.
    func giveUp(_ context: ChannelHandlerContext)
    /// Closes the connection, or the stream, that was idle for too long.
    func endIdle(_ context: ChannelHandlerContext)
}

extension DeadlineKeeper {
    func progress(_ ofSocket: ConnectionState.Progress?) -> ConnectionState.Progress? { ofSocket }

    func endIdle(_ context: ChannelHandlerContext) { giveUp(context) }

    /// Makes sure that the timer fires no later than a time.
    func startTimer(_ context: ChannelHandlerContext, by deadline: NIODeadline) {
        timer.start(context, by: deadline) { self.timerFired(context) }
    }

    /// Notes whether the client takes what is sent to it. As soon as it does not, it must make progress again in time.
    func setBlocked(_ isBlocked: Bool, _ context: ChannelHandlerContext) {
        if isBlocked, !state.isBlocked {
            startTimer(context, by: context.eventLoop.now + TimeAmount(state.limits.progressTime))
        }
        state.isBlocked = isBlocked
    }

    private func timerFired(_ context: ChannelHandlerContext) {
        timer.fired()
        switch state.check(now: context.eventLoop.now) {
        case .again(let deadline): startTimer(context, by: deadline)
        case .close: giveUp(context)
        case .sample: TCPInfo.progress(of: socket).assumeIsolated().whenSuccess { self.judge($0, context) }
        }
    }

    private func judge(_ ofSocket: ConnectionState.Progress?, _ context: ChannelHandlerContext) {
        guard context.channel.isActive else { return }
        switch state.judge(progress(ofSocket), now: context.eventLoop.now) {
        case .again(let deadline): startTimer(context, by: deadline)
        case .stalled(let deadline):
            startTimer(context, by: deadline)
            context.fireErrorCaught(ConnectionError.stalled)
        case .close: endIdle(context)
        }
    }
}

/// A handler's one timer, for the nearest of its deadlines. To be used on the handler's event loop only.
struct DeadlineTimer {
    private var scheduled: Scheduled<Void>?
    private var deadline = NIODeadline.distantFuture

    /// Makes sure that it fires no later than a time.
    /// - Parameter fire: called when the time has come; it must call `fired()` first.
    mutating func start(_ context: ChannelHandlerContext, by deadline: NIODeadline, _ fire: @escaping () -> Void) {
        if let scheduled {
            guard deadline < self.deadline else { return }
            scheduled.cancel()
        }
        self.deadline = deadline
        scheduled = context.eventLoop.assumeIsolated().scheduleTask(deadline: deadline, fire)
    }

    /// Notes that the timer has fired.
    mutating func fired() { scheduled = nil }

    mutating func cancel() {
        scheduled?.cancel()
        scheduled = nil
    }
}

/// The head of Linux' `struct tcp_info` (an interface that only grows), up to the fields that are needed here.
struct TCPInfo: Sendable {
    /// Byte offsets 0–119.
    private var ignored:
        (
            UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64,
            UInt64, UInt64
        )
    /// Offset 120: bytes that the client confirmed.
    var bytesAcknowledged: UInt64
    /// Offset 128: bytes that the client sent.
    var bytesReceived: UInt64
    /// Offset 136.
    private var segments: UInt64
    /// Offset 144: bytes that wait to be sent.
    var bytesNotSent: UInt32
    private var minimumRoundTrip: UInt32

    /// Segments sent and not confirmed: offset 24.
    var unacknowledged: UInt32 { UInt32(truncatingIfNeeded: ignored.3) }

    static let option = NIOBSDSocket.Option(rawValue: 11)

    /// What the client at the other end has taken and sent; nil where the system does not tell.
    static func progress(of channel: any Channel) -> EventLoopFuture<ConnectionState.Progress?> {
        guard let provider = channel as? any SocketOptionProvider else {
            return channel.eventLoop.makeSucceededFuture(nil)
        }
        let info: EventLoopFuture<TCPInfo> = provider.unsafeGetSocketOption(level: .tcp, name: option)
        return info.map { info in
            ConnectionState.Progress(
                moved: Int64(clamping: info.bytesAcknowledged &+ info.bytesReceived),
                hasUnsent: info.unacknowledged > 0 || info.bytesNotSent > 0)
        }.recover { _ in nil }
    }
}
