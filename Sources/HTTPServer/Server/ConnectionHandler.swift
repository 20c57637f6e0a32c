import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1

/// HTTP/1.1 of a connection: turns what the parser found into requests, and responses into bytes; keeps the deadlines
/// of `ConnectionState`; answers `Expect: 100-continue`; and closes connections so that clients see the answer.
final class ConnectionHandler: ChannelDuplexHandler, DeadlineKeeper {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = IOData

    /// Bodies up to this size are copied behind their head, which costs less than a second buffer.
    private static let copiedBody = 8 << 10

    private let connection: Connection
    private let meter: HeadMeterHandler
    private let since: NIODeadline
    private let scheme: String
    var state: ConnectionState
    var timer = DeadlineTimer()
    /// Bytes of the response that are not passed on yet, so that head, small bodies and chunk sizes go out together.
    private var unsent: ByteBuffer?
    private var isChunked = false
    private var isBodiless = false
    private var filesUnderWay = 0
    /// How many responses were written to their end.
    private var answers = 0
    /// The parser failed and reads no more requests, so the answer to the last request is the connection's last.
    private var hasParserFailed = false
    /// There was no memory for the last request's body.
    private var isBodyRefused = false
    /// The last request's head was refused, and nothing that follows it is read.
    private var isHeadRefused = false

    /// - Parameters:
    ///   - meter: the handler below the parser, which takes memory for what comes in.
    ///   - since: when the connection began.
    init(connection: Connection, meter: HeadMeterHandler, limits: ServerLimits, since: NIODeadline) {
        self.connection = connection
        self.meter = meter
        self.since = since
        scheme = if case .sendfile = connection.transfer { "http" } else { "https" }
        state = ConnectionState(limits: limits, now: since)
    }

    // MARK: life

    func handlerAdded(context: ChannelHandlerContext) {
        startTimer(context, by: since + TimeAmount(state.limits.headTime))
    }

    /// Starts the timer again, since it may have fired while the channel was being set up, and found nothing to close.
    func channelActive(context: ChannelHandlerContext) {
        startTimer(context, by: since + TimeAmount(state.limits.headTime))
        context.fireChannelActive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { timer.cancel() }

    func channelInactive(context: ChannelHandlerContext) {
        timer.cancel()
        // A body that broke off must never look like one that ended.
        if state.isBodyOpen { context.fireErrorCaught(ConnectionError.cut) }
        context.fireChannelInactive()
        connection.cancel()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if error is HTTPParserError { hasParserFailed = true }
        context.fireErrorCaught(error)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent:
            state.drain()
            context.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(state.limits.drainTime)) { context.cut() }
            closeIfIdle(context)
        case is DroppedBytes:
            if state.isLingering { state.swallowed(now: context.eventLoop.now) } else { refuseBody(context) }
        case ChannelEvent.inputClosed:
            context.fireUserInboundEventTriggered(event)
            cancelUnlessAnswered(context)
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    /// Cancels the work on a request a moment after its client closed its side of the connection. Most such clients
    /// are gone, but some wait for their answer.
    private func cancelUnlessAnswered(_ context: ChannelHandlerContext) {
        context.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(state.limits.halfClosedTime)) {
            if self.state.isWorking { self.connection.cancel() }
        }
    }

    /// While draining: closes an idle connection after a moment, in which a request that is on its way can come. The
    /// moment begins again with each answer.
    private func closeIfIdle(_ context: ChannelHandlerContext) {
        let answers = answers
        context.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(state.limits.drainIdleTime)) {
            if self.state.isIdle, self.answers == answers { context.close(promise: nil) }
        }
    }

    // MARK: in

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = Self.unwrapInboundIn(data)
        if case .body(let buffer) = part { meter.body(buffer.readableBytes) }
        guard !state.isLingering else {
            state.swallowed(now: context.eventLoop.now)
            return
        }
        state.isReading = false
        guard !isHeadRefused else { return }
        switch part {
        case .head(let head): readHead(head, context: context)
        case .body(let buffer):
            state.requestBody(buffer.readableBytes)
            readBody(buffer, context: context)
        case .end:
            state.requestEnd()
            meter.isInBody = false
            context.fireChannelRead(Self.wrapInboundOut(.end(nil)))
        }
    }

    private func readBody(_ buffer: ByteBuffer, context: ChannelHandlerContext) {
        guard !isBodyRefused else { return }
        if connection.takeForRequest(buffer.readableBytes) {
            context.fireChannelRead(Self.wrapInboundOut(.body(buffer)))
        } else {
            refuseBody(context)
        }
    }

    private func refuseBody(_ context: ChannelHandlerContext) {
        guard !isBodyRefused else { return }
        isBodyRefused = true
        meter.isSwallowing = true
        context.fireErrorCaught(ConnectionError.noMemory)
    }

    func read(context: ChannelHandlerContext) {
        state.isReading = true
        context.read()
    }

    private func readHead(_ head: HTTPRequestHead, context: ChannelHandlerContext) {
        let size = head.headers.reduce(head.uri.utf8.count + 16) { $0 + $1.name.utf8.count + $1.value.utf8.count + 4 }
        guard meter.head(size), state.exchanges.count < state.limits.streams else {
            context.cut()
            return
        }
        let framing = Result { () throws(RequestFraming.Fault) in try RequestFraming(head) }
        // Where it is not known what follows the head, nothing that follows is read.
        let (isChunked, length) = (try? framing.get()).map { ($0.isChunked, $0.length) } ?? (true, nil)
        let hasBody = isChunked || (length ?? 0) > 0
        let exchange = ConnectionState.Exchange(
            // A client of HTTP/1.0 would have to be told that its connection stays open, so it is closed.
            keepAlive: head.version.minor >= 1 && head.isKeepAlive, isHead: head.method == .HEAD,
            expectsContinue: hasBody && head.version == .http1_1
                && head.headers.first(name: "expect")?.lowercased() == "100-continue", size: size)
        meter.isInBody = hasBody
        let now = context.eventLoop.now
        state.requestHead(exchange, bodyLength: hasBody ? (isChunked ? nil : length) : 0, now: now)
        if hasBody { startTimer(context, by: now + TimeAmount(state.limits.progressTime)) }
        if case .failure(let fault) = framing {
            isHeadRefused = true
            meter.isSwallowing = true
            context.fireErrorCaught(fault)
            return
        }
        guard let path = Self.path(of: head.uri), let method = try? HTTPRequest.Method(head.method) else {
            context.fireErrorCaught(HTTPParserError.invalidURL)
            return
        }
        let request = HTTPRequest(
            method: method, scheme: scheme, authority: head.headers.first(name: "host"), path: path,
            headerFields: HTTPFields(head.headers, splitCookie: false))
        context.fireChannelRead(Self.wrapInboundOut(.head(request)))
    }

    /// The path and query of a request target in origin form or absolute form (RFC 9112, section 3.2).
    static func path(of target: String) -> String? {
        if target.utf8.first == UInt8(ascii: "/") { return target }
        guard let scheme = ["http://", "https://"].first(where: { target.lowercased().hasPrefix($0) }) else {
            return nil
        }
        let rest = target.dropFirst(scheme.count)
        return rest.firstIndex(of: "/").map { String(rest[$0...]) } ?? "/"
    }

    // MARK: out

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if !state.isLingering {
            switch Self.unwrapOutboundIn(data) {
            case .head(let head): writeHead(head, context: context)
            case .body(let buffer): writeBody(buffer, context: context)
            case .end: writeEnd(context: context)
            }
        }
        // No caller waits for single parts; what the socket takes shows in its writability.
        promise?.succeed()
    }

    func flush(context: ChannelHandlerContext) {
        writeUnsent(context: context)
        context.flush()
    }

    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        switch event {
        case is SendContinue:
            if state.awaitsContinue, !state.isLingering {
                state.stopExpecting()
                var buffer = context.channel.allocator.buffer(capacity: 32)
                buffer.writeStaticString("HTTP/1.1 100 Continue\r\n\r\n")
                context.writeAndFlush(Self.wrapOutboundOut(.byteBuffer(buffer)), promise: nil)
            }
            promise?.succeed()
        case is SendFile:
            writeUnsent(context: context)
            filesUnderWay += 1
            blockedChanged(context)
            let promise = promise ?? context.eventLoop.makePromise()
            promise.futureResult.assumeIsolated().whenComplete { _ in
                self.filesUnderWay -= 1
                self.blockedChanged(context)
            }
            context.triggerUserOutboundEvent(event, promise: promise)
        default: context.triggerUserOutboundEvent(event, promise: promise)
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        blockedChanged(context)
        context.fireChannelWritabilityChanged()
    }

    private func blockedChanged(_ context: ChannelHandlerContext) {
        setBlocked(filesUnderWay > 0 || !context.channel.isWritable, context)
    }

    private func writeHead(_ head: HTTPResponse, context: ChannelHandlerContext) {
        var head = head
        // Where the parser failed between requests, that gets an answer of its own, which asks for the close.
        let wantsClose =
            isBodyRefused || (hasParserFailed && state.isBodyOpen && state.exchanges.count == 1)
            || head.headerFields[.connection] == "close"
        let (exchange, close) = state.responseHead(wantsClose: wantsClose)
        if close {
            head.headerFields[.connection] = "close"
            connection.markClosing()
        }
        isBodiless = exchange.isHead || head.status == .noContent || head.status == .notModified
        isChunked = !isBodiless && head.headerFields[.contentLength] == nil
        if isChunked { head.headerFields[.transferEncoding] = "chunked" }
        var buffer = context.channel.allocator.buffer(capacity: 1024)
        ResponseHeadEncoder.write(head, into: &buffer)
        unsent = buffer
    }

    private func writeBody(_ buffer: ByteBuffer, context: ChannelHandlerContext) {
        guard !isBodiless, buffer.readableBytes > 0 else { return }
        if isChunked {
            var size = unsent ?? context.channel.allocator.buffer(capacity: 16)
            ResponseHeadEncoder.writeChunkSize(buffer.readableBytes, into: &size)
            unsent = size
        }
        if buffer.readableBytes <= Self.copiedBody, unsent != nil {
            unsent?.writeImmutableBuffer(buffer)
        } else {
            writeUnsent(context: context)
            context.write(Self.wrapOutboundOut(.byteBuffer(buffer)), promise: nil)
        }
        if isChunked {
            if unsent == nil { unsent = context.channel.allocator.buffer(capacity: 16) }
            unsent?.writeStaticString("\r\n")
        }
    }

    private func writeEnd(context: ChannelHandlerContext) {
        if isChunked {
            if unsent == nil { unsent = context.channel.allocator.buffer(capacity: 16) }
            unsent?.writeStaticString("0\r\n\r\n")
        }
        writeUnsent(context: context)
        isChunked = false
        answers += 1
        if let size = state.exchanges.first?.size { meter.answered(size) }
        let now = context.eventLoop.now
        if state.responseEnd(now: now) {
            close(context)
        } else if state.isIdle {
            startTimer(context, by: now + TimeAmount(state.limits.idleTime))
            if state.isDraining { closeIfIdle(context) }
        }
    }

    private func writeUnsent(context: ChannelHandlerContext) {
        guard let buffer = unsent else { return }
        unsent = nil
        context.write(Self.wrapOutboundOut(.byteBuffer(buffer)), promise: nil)
    }

    // MARK: closing and time

    /// Closes the connection after what was written: closes the output, and then discards what still comes for a
    /// while, since a reset would destroy the answer on its way.
    private func close(_ context: ChannelHandlerContext) {
        connection.markClosing()
        meter.isSwallowing = true
        let until = state.linger(now: context.eventLoop.now)
        context.flush()
        context.close(mode: .output, promise: nil)
        startTimer(context, by: until)
        // A reader of this request's body must not wait any longer: nothing more of it is read.
        context.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        context.read()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        if state.isLingering { context.read() }
    }

    var socket: any Channel { connection.underlying }

    /// Bytes that are no part of a body don't count: chunks' extensions may go on for ever.
    func progress(_ ofSocket: ConnectionState.Progress?) -> ConnectionState.Progress? {
        ofSocket.map { .init(moved: $0.moved - meter.framing, hasUnsent: $0.hasUnsent) }
    }

    func giveUp(_ context: ChannelHandlerContext) { context.cut() }
}

/// Why a connection, or a request's body, ends early.
enum ConnectionError: Error {
    /// The client is gone.
    case cut
    /// The client stopped sending.
    case stalled
    /// There is no memory left for this body in the budget for requests.
    case noMemory
    /// There is no place for another connection.
    case noRoom
}

/// Writes response heads (RFC 9112) straight into a buffer. Framing fields are the caller's.
enum ResponseHeadEncoder {
    static func write(_ head: HTTPResponse, into buffer: inout ByteBuffer) {
        buffer.writeStaticString("HTTP/1.1 ")
        buffer.writeString(String(head.status.code))
        buffer.writeInteger(UInt8(ascii: " "))
        buffer.writeString(head.status.reasonPhrase)
        buffer.writeStaticString("\r\n")
        for field in head.headerFields {
            buffer.writeString(field.name.rawName)
            buffer.writeStaticString(": ")
            buffer.writeString(field.value)
            buffer.writeStaticString("\r\n")
        }
        buffer.writeStaticString("\r\n")
    }

    /// A chunk's size line (RFC 9112, section 7.1).
    static func writeChunkSize(_ size: Int, into buffer: inout ByteBuffer) {
        buffer.writeString(String(size, radix: 16))
        buffer.writeStaticString("\r\n")
    }
}

/// Turns `SendFile` into a file region, which NIO sends with sendfile. Only plain pipelines have this handler: under
/// TLS no handler takes the event and it fails, where a file region would end the process.
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
