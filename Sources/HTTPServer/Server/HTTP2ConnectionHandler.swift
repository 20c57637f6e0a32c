import NIOCore
import NIOHTTP2

/// An HTTP/2 connection as a whole: lets its streams in, keeps the deadlines of `ConnectionState` while there are
/// none, and closes the connection.
final class HTTP2ConnectionHandler: ChannelDuplexHandler, DeadlineKeeper {
    typealias InboundIn = HTTP2Frame
    typealias OutboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame

    /// How many errors of single streams are tolerated before the connection is closed.
    private static let maximumErrors = 100

    private let connection: Connection
    private let streams: StreamQueue
    private let since: NIODeadline
    var state: ConnectionState
    var timer = DeadlineTimer()
    private var context: ChannelHandlerContext?
    private var lastStream = HTTP2StreamID.rootStream
    private var wasGoAwaySent = false
    private var errors = 0

    /// - Parameter since: when the connection began.
    init(connection: Connection, streams: StreamQueue, limits: ServerLimits, since: NIODeadline) {
        self.connection = connection
        self.streams = streams
        self.since = since
        state = ConnectionState(limits: limits, now: since)
    }

    /// NIO's handler of the protocol, which stands below this one.
    func makeProtocolHandler() -> NIOHTTP2Handler {
        let limits = state.limits
        var configuration = NIOHTTP2Handler.Configuration()
        configuration.connection.initialSettings = [
            HTTP2Setting(parameter: .maxConcurrentStreams, value: limits.streams),
            HTTP2Setting(parameter: .maxHeaderListSize, value: limits.headerList),
            HTTP2Setting(parameter: .initialWindowSize, value: limits.streamWindow),
        ]
        configuration.connection.targetWindowSize = 4 * limits.streamWindow
        configuration.connection.maximumBufferedControlFrames = 1000
        // Clients go on sending for a while on streams that were answered early and reset; that must not be an error.
        configuration.connection.maximumRecentlyResetStreams = 4 * limits.streams
        configuration.stream.targetWindowSize = limits.streamWindow
        configuration.stream.outboundBufferSizeHighWatermark = 64 << 10
        configuration.stream.outboundBufferSizeLowWatermark = 32 << 10
        configuration.stream.streamResetFrameRateLimit.maximumCount = limits.streamResets
        let loop = connection.channel.eventLoop
        let handler = NIOLoopBound(self, eventLoop: loop)
        return NIOHTTP2Handler(
            mode: .server, eventLoop: loop, connectionConfiguration: configuration.connection,
            streamConfiguration: configuration.stream
        ) { handler.value.open($0) }
    }

    // MARK: life

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        startTimer(context, by: since + TimeAmount(state.limits.headTime))
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer.cancel()
        self.context = nil
        streams.finish()
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer.cancel()
        streams.finish()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        errors += 1
        // The protocol's handler has told the client of errors for which the connection ends.
        if errors > Self.maximumErrors || !HTTP2StreamErrors.contain(error) { context.cut() }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent:
            state.drain()
            let limits = state.limits
            context.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(limits.drainTime)) { context.cut() }
            goAway(.noError, context)
            lingerIfIdle(context)
        case ChannelEvent.inputClosed:
            // Without input no window updates come, so responses could not be sent to their end.
            context.cut()
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // Only frames of the connection itself come here; the protocol's handler has done what they ask for.
        if state.isLingering { state.swallowed(now: context.eventLoop.now) }
    }

    // MARK: streams

    private func open(_ stream: any Channel) -> EventLoopFuture<Void> {
        let loop = stream.eventLoop
        let closed: EventLoopFuture<Void> = loop.makeFailedFuture(ConnectionError.cut)
        guard let context, !state.isLingering else { return closed }
        // The maximum that was announced holds only once the client has confirmed it, and streams that it gave up
        // count as long as they are worked on. So twice as many are let in.
        guard streams.count < 2 * state.limits.streams else {
            goAway(.enhanceYourCalm, context)
            context.cut()
            return closed
        }
        let own = Connection(stream: stream, of: connection)
        // The memory that the connection has taken includes what its first stream needs.
        guard streams.count == 0 || own.memory.take(StreamHandler.bytes) else {
            return loop.makeFailedFuture(ConnectionError.noRoom)
        }
        do {
            let id = try stream.syncOptions?.getOption(HTTP2StreamChannelOptions.streamID)
            lastStream = max(lastStream, id ?? lastStream)
            try stream.pipeline.syncOperations.addHandler(StreamHandler(connection: own, limits: state.limits))
        } catch {
            return loop.makeFailedFuture(error)
        }
        state.requestHead(
            .init(keepAlive: true, isHead: false, expectsContinue: false), bodyLength: 0, now: loop.now)
        state.requestEnd()
        stream.closeFuture.assumeIsolated().whenComplete { _ in
            own.memory.release()
            self.closed()
        }
        let ready = loop.makePromise(of: Void.self)
        streams.add(StreamQueue.Stream(connection: own, ready: ready))
        return ready.futureResult
    }

    private func closed() {
        guard let context else { return }
        let now = context.eventLoop.now
        _ = state.responseEnd(now: now)
        guard state.isIdle else { return }
        startTimer(context, by: now + TimeAmount(state.limits.idleTime))
        if state.isDraining { lingerIfIdle(context) }
    }

    // MARK: closing and time

    /// Tells the client that no stream after those that exist is answered (RFC 9113, section 6.8).
    private func goAway(_ code: HTTP2ErrorCode, _ context: ChannelHandlerContext) {
        guard !wasGoAwaySent else { return }
        wasGoAwaySent = true
        let payload = HTTP2Frame.FramePayload.goAway(lastStreamID: lastStream, errorCode: code, opaqueData: nil)
        context.writeAndFlush(
            Self.wrapOutboundOut(HTTP2Frame(streamID: .rootStream, payload: payload)), promise: nil)
    }

    /// Closes the connection once it has no streams, as HTTP/1.1 does: what the client still sends is discarded, since
    /// a reset would destroy answers on their way.
    private func lingerIfIdle(_ context: ChannelHandlerContext) {
        guard state.isIdle, !state.isLingering, context.channel.isActive else { return }
        let until = state.linger(now: context.eventLoop.now)
        context.close(mode: .output, promise: nil)
        startTimer(context, by: until)
    }

    var socket: any Channel { connection.underlying }

    func giveUp(_ context: ChannelHandlerContext) { context.cut() }

    func endIdle(_ context: ChannelHandlerContext) {
        goAway(.noError, context)
        lingerIfIdle(context)
    }
}

/// Tells errors of one stream, which the protocol's handler has reset, from all others, which end the connection.
private enum HTTP2StreamErrors {
    static func contain(_ error: any Error) -> Bool {
        switch error {
        case is NIOHTTP2Errors.StreamError, is NIOHTTP2Errors.StreamClosed,
            is NIOHTTP2Errors.ContentLengthViolated, is NIOHTTP2Errors.ContentLengthHeadersMismatch,
            is NIOHTTP2Errors.ContentLengthHeaderNegative, is NIOHTTP2Errors.ContentLengthHeaderMalformedValue,
            is NIOHTTP2Errors.TrailersWithoutEndStream, is NIOHTTP2Errors.MissingPseudoHeader,
            is NIOHTTP2Errors.DuplicatePseudoHeader, is NIOHTTP2Errors.PseudoHeaderAfterRegularHeader,
            is NIOHTTP2Errors.UnknownPseudoHeader, is NIOHTTP2Errors.UnsupportedPseudoHeader,
            is NIOHTTP2Errors.InvalidPseudoHeaders, is NIOHTTP2Errors.InvalidPseudoHeaderValue,
            is NIOHTTP2Errors.EmptyPathHeader, is NIOHTTP2Errors.InvalidHTTP2HeaderFieldName,
            is NIOHTTP2Errors.InvalidHTTP2HeaderFieldValue, is NIOHTTP2Errors.ForbiddenHeaderField:
            true
        default: false
        }
    }
}
