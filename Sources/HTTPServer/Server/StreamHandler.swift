import HTTPTypes
import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOHTTPTypes

/// A stream of an HTTP/2 connection, that is a request and its response: what `ConnectionHandler` is to HTTP/1.1, with
/// the deadlines of the same `ConnectionState`.
final class StreamHandler: ChannelDuplexHandler, DeadlineKeeper {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTP2Frame.FramePayload

    /// Data goes out in frames of this size at most, in bytes, so that a slow client's progress shows.
    static let frameSize = 16 << 10

    /// The memory that an open stream takes, a head of ordinary size included, in bytes.
    static let bytes = 24 << 10
    private static let ordinaryHead = 4 << 10

    private let connection: Connection
    var state: ConnectionState
    var timer = DeadlineTimer()
    /// What is held back until the next part comes, since the stream's end may go with it.
    private var unsentHead: HPACKHeaders?
    private var unsentBody: ByteBuffer?
    private var isBodiless = false
    private var wasHeadRead = false
    /// Whether what the client still sends is discarded.
    private var isSwallowing = false
    /// Whether the rest of the request's body is not wanted once the response is sent.
    private var abandonsBody = false
    /// How many frames the connection has not taken yet.
    private var framesUnderWay = 0
    /// How many bytes of the response the connection took.
    private var taken: Int64 = 0
    /// Bytes that count as moved by this stream for times when other streams of the connection had their turn.
    private var excused: Int64 = 0
    /// How many bytes the whole connection had moved when the stream was judged last.
    private var lastOfConnection: Int64?

    /// - Parameter connection: the stream's own, not that of the whole connection.
    init(connection: Connection, limits: ServerLimits) {
        self.connection = connection
        state = ConnectionState(limits: limits, now: connection.channel.eventLoop.now)
    }

    // MARK: life

    func handlerRemoved(context: ChannelHandlerContext) { timer.cancel() }

    func channelInactive(context: ChannelHandlerContext) {
        timer.cancel()
        // A body that broke off must never look like one that ended.
        if state.isBodyOpen { context.fireErrorCaught(ConnectionError.cut) }
        context.fireChannelInactive()
        connection.cancel()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // The event says that the connection drains, but its streams go on.
        if !(event is ChannelShouldQuiesceEvent) { context.fireUserInboundEventTriggered(event) }
    }

    // MARK: in

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        state.isReading = false
        switch Self.unwrapInboundIn(data) {
        case .headers(let content):
            // Trailers are ignored, but the end of the stream that may come with them is not.
            if !wasHeadRead { readHead(content.headers, hasBody: !content.endStream, context) }
            if content.endStream { readEnd(context) }
        case .data(let content):
            if case .byteBuffer(let buffer) = content.data, buffer.readableBytes > 0 {
                state.requestBody(buffer.readableBytes)
                readBody(buffer, context)
            }
            if content.endStream { readEnd(context) }
        default: break
        }
    }

    private func readBody(_ buffer: ByteBuffer, _ context: ChannelHandlerContext) {
        guard !isSwallowing else { return }
        if connection.takeForRequest(buffer.readableBytes) {
            context.fireChannelRead(Self.wrapInboundOut(.body(buffer)))
        } else {
            isSwallowing = true
            context.fireErrorCaught(ConnectionError.noMemory)
        }
    }

    func read(context: ChannelHandlerContext) {
        state.isReading = true
        context.read()
    }

    private func readHead(_ headers: HPACKHeaders, hasBody: Bool, _ context: ChannelHandlerContext) {
        wasHeadRead = true
        let now = context.eventLoop.now
        let size = headers.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count }
        guard size <= Self.ordinaryHead || connection.memory.take(HeadMeter.factor * size) else {
            context.close(promise: nil)
            return
        }
        let result = Result { () throws(HTTP2Message.Refusal) in
            try HTTP2Message.request(headers, hasBody: hasBody, limits: state.limits)
        }
        let request = try? result.get()
        let length = request?.headerFields[.contentLength].flatMap { Int64($0) }
        let expectsContinue = hasBody && request?.headerFields[.expect]?.lowercased() == "100-continue"
        state.requestHead(
            .init(keepAlive: true, isHead: request?.method == .head, expectsContinue: expectsContinue),
            bodyLength: hasBody ? length : 0, now: now)
        if hasBody { startTimer(context, by: now + TimeAmount(state.limits.progressTime)) }
        switch result {
        case .success(let request): context.fireChannelRead(Self.wrapInboundOut(.head(request)))
        case .failure(let refusal):
            isSwallowing = true
            let status: HTTPResponse.Status =
                refusal == .headersTooLarge ? .requestHeaderFieldsTooLarge : .badRequest
            writeHead(HTTPResponse(status: status, headerFields: [.contentLength: "0"]))
            writeEnd(context)
            flush(context: context)
        }
    }

    private func readEnd(_ context: ChannelHandlerContext) {
        state.requestEnd()
        if !isSwallowing { context.fireChannelRead(Self.wrapInboundOut(.end(nil))) }
    }

    // MARK: out

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch Self.unwrapOutboundIn(data) {
        case .head(let head): writeHead(head)
        case .body(let buffer):
            if !isBodiless, buffer.readableBytes > 0 {
                writeUnsent(context)
                unsentBody = buffer
            }
        case .end: writeEnd(context)
        }
        // No caller waits for single parts; what the client takes shows in the stream's writability.
        promise?.succeed()
    }

    func flush(context: ChannelHandlerContext) {
        writeUnsent(context)
        context.flush()
        blockedChanged(context)
    }

    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        guard event is SendContinue else {
            // The system can't send files through TLS.
            promise?.fail(ChannelError.operationUnsupported)
            return
        }
        if state.awaitsContinue {
            state.stopExpecting()
            context.writeAndFlush(
                Self.wrapOutboundOut(.headers(.init(headers: [":status": "100"]))), promise: nil)
        }
        promise?.succeed()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        blockedChanged(context)
        context.fireChannelWritabilityChanged()
    }

    private func blockedChanged(_ context: ChannelHandlerContext) {
        setBlocked(framesUnderWay > 0 || !context.channel.isWritable, context)
    }

    private func writeHead(_ head: HTTPResponse) {
        let (exchange, abandonsBody) = state.responseHead(wantsClose: false)
        self.abandonsBody = abandonsBody
        isBodiless = exchange.isHead || head.status == .noContent || head.status == .notModified
        unsentHead = HTTP2Message.headers(of: head)
    }

    private func writeEnd(_ context: ChannelHandlerContext) {
        if unsentHead == nil, unsentBody == nil { unsentBody = context.channel.allocator.buffer(capacity: 0) }
        writeUnsent(context, isEnd: true)
    }

    /// Writes what is held back.
    /// - Parameter isEnd: whether the stream ends with it.
    private func writeUnsent(_ context: ChannelHandlerContext, isEnd: Bool = false) {
        if let head = unsentHead {
            unsentHead = nil
            let endStream = isEnd && unsentBody == nil
            writeFrame(.headers(.init(headers: head, endStream: endStream)), 0, isLast: endStream, context)
        }
        guard var buffer = unsentBody else { return }
        unsentBody = nil
        repeat {
            let count = min(buffer.readableBytes, Self.frameSize)
            guard let slice = buffer.readSlice(length: count) else { return }
            let endStream = isEnd && buffer.readableBytes == 0
            writeFrame(.data(.init(data: .byteBuffer(slice), endStream: endStream)), count, isLast: endStream, context)
        } while buffer.readableBytes > 0
    }

    private func writeFrame(
        _ payload: HTTP2Frame.FramePayload, _ count: Int, isLast: Bool, _ context: ChannelHandlerContext
    ) {
        framesUnderWay += 1
        let promise = context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { result in
            self.framesUnderWay -= 1
            if case .success = result {
                self.taken += Int64(count)
                if isLast { self.ended(context) }
            }
            if self.framesUnderWay == 0 { self.blockedChanged(context) }
        }
        context.write(Self.wrapOutboundOut(payload), promise: promise)
    }

    /// Called when the response is sent. If the rest of the request's body is not wanted, the stream is reset without
    /// an error (RFC 9113, section 8.1).
    private func ended(_ context: ChannelHandlerContext) {
        _ = state.responseEnd(now: context.eventLoop.now)
        guard state.isBodyOpen, abandonsBody, context.channel.isActive else { return }
        isSwallowing = true
        context.writeAndFlush(Self.wrapOutboundOut(.rstStream(.noError)), promise: nil)
    }

    // MARK: time

    var socket: any Channel { connection.underlying }

    func giveUp(_ context: ChannelHandlerContext) { context.close(promise: nil) }

    func progress(_ ofSocket: ConnectionState.Progress?) -> ConnectionState.Progress? {
        excuse(ofSocket)
        return ConnectionState.Progress(moved: state.received + taken + excused, hasUnsent: framesUnderWay > 0)
    }

    /// Counts a stream as moving while it waits for its turn. A full connection sends a frame of each stream in turn:
    /// while it moves less than one frame for every stream that may be open, a stream that got nothing is not to
    /// blame.
    private func excuse(_ ofConnection: ConnectionState.Progress?) {
        guard let ofConnection else { return }
        defer { lastOfConnection = ofConnection.moved }
        guard state.isBlocked, !connection.underlying.isWritable, let lastOfConnection else { return }
        let moved = ofConnection.moved - lastOfConnection
        let round = Int64(state.limits.streams) * Int64(Self.frameSize)
        if moved >= state.limits.progressBytes, moved < round { excused += state.limits.progressBytes }
    }
}
