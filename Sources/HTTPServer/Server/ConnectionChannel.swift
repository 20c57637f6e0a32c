import Glibc
import HTTPTypes
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOPosix
import NIOSSL

/// Builds the pipelines of one listener's connections and serves them.
///
///     plain:    HeadMeterHandler · parser · SendfileHandler · ConnectionHandler · NIOAsyncChannel
///     TLS:      PlainRequestHandler · NIOSSLServerHandler · NegotiationHandler, two of which give way: at the first byte,
///               and after the handshake to one of
///     HTTP/1.1: NIOSSLServerHandler · HeadMeterHandler · parser · ConnectionHandler · NIOAsyncChannel
///     HTTP/2:   NIOSSLServerHandler · NIOHTTP2Handler · HTTP2ConnectionHandler
///     and each stream of it: StreamHandler · NIOAsyncChannel
struct ConnectionChannel: Sendable {
    /// The memory that an open connection takes, in bytes: without TLS, with it, and with HTTP/2 in addition (its
    /// first stream included).
    private static let plainBytes = HeadMeter.allowance
    private static let secureBytes = 64 << 10
    private static let http2Bytes = (96 << 10) + StreamHandler.bytes

    /// How often the socket is read, 64 KiB at most each time, before what came is passed on as one part of a body.
    static let readsAtOnce: UInt = 2
    /// How many parts may wait for their reader before the socket is read no more, and how few before it is read again.
    /// They hold 640 KiB at most: enough for any reader not to wait, and little to be done once a body has come whole.
    private static let waitingParts = NIOAsyncSequenceProducerBackPressureStrategies.HighLowWatermark(
        lowWatermark: 2, highWatermark: 4)

    typealias AsyncChannel = NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>

    /// The version of HTTP that a connection speaks.
    enum Version: Sendable {
        case one(AsyncChannel)
        case two(StreamQueue)
        /// The TLS handshake will tell. Its result must be passed to `handle`.
        case negotiated(EventLoopFuture<Version>)
    }

    struct Accepted: Sendable {
        let version: Version
        let connection: Connection
    }

    enum Security: Sendable {
        case plain
        case tls(ServerTLS)
    }

    let security: Security
    let limits: ServerLimits
    let registry: ConnectionRegistry
    let memory: Budget
    let statistics: ServerStatistics
    let logger: Logger

    /// Builds a connection's pipeline. Called on the connection's event loop. The result must be passed to `handle` or
    /// `refuse`, since NIO ends the process when an asynchronous channel is dropped.
    func setup(_ channel: any Channel) throws -> Accepted {
        let connection: Connection
        let version: Version
        switch security {
        case .plain:
            connection = Connection(
                channel: channel, transfer: .sendfile, memory: memory, statistics: statistics, registry: registry)
            try registry.add(connection, bytes: Self.plainBytes)
            version = try addHTTP1(connection, since: channel.eventLoop.now)
        case .tls(let tls):
            connection = Connection(
                channel: channel, transfer: .chunks, memory: memory, statistics: statistics, registry: registry)
            try registry.add(connection, bytes: Self.secureBytes)
            let promise = channel.eventLoop.makePromise(of: Version.self)
            let negotiation = NegotiationHandler(connection: connection, limits: limits, version: promise) {
                [connection] isHTTP2, since in
                isHTTP2 ? try addHTTP2(connection, since: since) : try addHTTP1(connection, since: since)
            }
            do {
                try channel.pipeline.syncOperations.addHandlers([
                    PlainRequestHandler(lingerTime: limits.lingerTime), NIOSSLServerHandler(context: tls.current),
                    negotiation,
                ])
            } catch {
                promise.fail(error)
                throw error
            }
            version = .negotiated(promise.futureResult)
        }
        return Accepted(version: version, connection: connection)
    }

    /// Adds the handlers of HTTP/1.1 to a pipeline. The result must be passed to `handle`, as that of `setup`.
    func addHTTP1(_ connection: Connection, since: NIODeadline) throws -> Version {
        let pipeline = connection.channel.pipeline.syncOperations
        let meter = HeadMeterHandler(connection: connection)
        try pipeline.addHandlers([meter, parser()])
        if case .sendfile = connection.transfer {
            try pipeline.addHandler(SendfileHandler(statistics: statistics))
        }
        try pipeline.addHandler(ConnectionHandler(connection: connection, meter: meter, limits: limits, since: since))
        return .one(
            try AsyncChannel(
                wrappingChannelSynchronously: connection.channel,
                configuration: .init(backPressureStrategy: Self.waitingParts, isOutboundHalfClosureEnabled: true)))
    }

    /// Adds the handlers of HTTP/2 to a pipeline.
    func addHTTP2(_ connection: Connection, since: NIODeadline) throws -> Version {
        guard registry.take(Self.http2Bytes, for: connection) else { throw ConnectionError.noRoom }
        let streams = StreamQueue()
        let handler = HTTP2ConnectionHandler(connection: connection, streams: streams, limits: limits, since: since)
        try connection.channel.pipeline.syncOperations.addHandlers([handler.makeProtocolHandler(), handler])
        return .two(streams)
    }

    /// Closes a connection that was accepted when its listener had already ended.
    static func refuse(_ accepted: Accepted) {
        switch accepted.version {
        case .one(let channel): Task { try? await channel.executeThenClose { _, _ in } }
        case .two, .negotiated:
            // A handshake that is still under way must not go on (`NegotiationHandler` looks at `isClosing`).
            accepted.connection.markClosing()
            let channel = accepted.connection.channel
            channel.eventLoop.execute { channel.close(promise: nil) }
        }
    }

    private func parser() -> ByteToMessageHandler<HTTPRequestDecoder> {
        var configuration = NIOHTTPDecoderLimitConfiguration()
        configuration.maxHeaderFieldSize = limits.headerField
        configuration.maxHeaderListSize = limits.headerList
        configuration.maxHeaderFieldCount = limits.headerCount
        return ByteToMessageHandler(HTTPRequestDecoder(limitConfiguration: configuration))
    }

    /// Serves a connection until it closes.
    func handle(_ accepted: Accepted, requestHandler: RequestHandler) async {
        switch accepted.version {
        case .one(let channel): await handle(channel, accepted.connection, requestHandler)
        case .two(let streams): await streams.run { await handle($0, $1, requestHandler) }
        case .negotiated(let version):
            guard let version = try? await version.get() else { return }
            await handle(Accepted(version: version, connection: accepted.connection), requestHandler: requestHandler)
        }
    }

    /// Serves one request after the other. The calling task is cancelled when the client goes away.
    private func handle(_ channel: AsyncChannel, _ connection: Connection, _ requestHandler: RequestHandler) async {
        await connection.serve {
            // An error here means that the client is gone.
            try? await channel.executeThenClose { inbound, outbound in
                let parts = RequestParts(inbound, memory: connection.memory)
                do {
                    while !connection.isClosing, let head = try await parts.nextHead() {
                        try await requestHandler.serve(head, parts, outbound, on: connection)
                    }
                } catch let error as HTTPParserError {
                    // The bytes after the last request are no valid request.
                    try await outbound.write(contentsOf: Self.refusal(of: error))
                } catch let fault as RequestFraming.Fault {
                    try await outbound.write(contentsOf: Self.refusal(of: fault))
                }
                outbound.finish()
                try await channel.channel.closeFuture.get()
                // The channel waits for its client to take the answer only as long as somebody might read from it.
                withExtendedLifetime(parts) {}
            }
        }
    }

    private static func refusal(of fault: RequestFraming.Fault) -> [HTTPResponsePart] {
        let text = ByteBuffer(string: fault.message + "\n")
        let headers: HTTPFields = [
            .connection: "close", .contentType: "text/plain; charset=utf-8",
            .contentLength: String(text.readableBytes),
        ]
        return [.head(HTTPResponse(status: fault.status, headerFields: headers)), .body(text), .end(nil)]
    }

    private static func refusal(of error: HTTPParserError) -> [HTTPResponsePart] {
        let status: HTTPResponse.Status =
            error == .headerOverflow ? .requestHeaderFieldsTooLarge : .badRequest
        return [
            .head(HTTPResponse(status: status, headerFields: [.connection: "close", .contentLength: "0"])), .end(nil),
        ]
    }
}

extension ConnectionChannel {
    /// Serves one connection of each kind, whose client is gone already.
    ///
    /// A pipeline consists of generic types, which the Swift runtime builds when they are first used. Two event loops
    /// that do so at the same moment have brought the process down (once in some 700 starts with several first clients
    /// at once). After a rehearsal on one of them the types are there.
    func rehearse(on group: any EventLoopGroup, requestHandler: RequestHandler) async {
        await rehearse(on: group, requestHandler: requestHandler, input: []) { try setup($0) }
        guard case .tls = security else { return }
        // The pipelines that a handshake would have led to.
        await rehearse(on: group, requestHandler: requestHandler, input: []) { channel in
            let connection = Connection(
                channel: channel, transfer: .chunks, memory: memory, statistics: statistics)
            return Accepted(version: try addHTTP1(connection, since: channel.eventLoop.now), connection: connection)
        }
        await rehearse(on: group, requestHandler: requestHandler, input: Self.refusedStream) { channel in
            let connection = Connection(
                channel: channel, transfer: .chunks, memory: memory, statistics: statistics)
            return Accepted(version: try addHTTP2(connection, since: channel.eventLoop.now), connection: connection)
        }
    }

    private func rehearse(
        on group: any EventLoopGroup, requestHandler: RequestHandler, input: [UInt8],
        build: @escaping @Sendable (any Channel) throws -> Accepted
    ) async {
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0 else { return }
        _ = input.withUnsafeBytes { send(ends[1], $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        close(ends[1])
        let accepted = try? await ClientBootstrap(group: group.next()).withConnectedSocket(ends[0]) { channel in
            channel.eventLoop.makeCompletedFuture { try build(channel) }
        }
        guard let accepted else { return }
        // In a child task, since the task that serves a connection is cancelled when the client goes.
        await withDiscardingTaskGroup { tasks in
            tasks.addTask { await handle(accepted, requestHandler: requestHandler) }
        }
    }

    /// The first bytes of an HTTP/2 client, and a request that is refused before it reaches a route: `GET *`.
    private static let refusedStream: [UInt8] =
        Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0]
        + [0, 0, 5, 1, 5, 0, 0, 0, 1] + [0x82, 0x87, 0x04, 0x01, 0x2A]
}
