import HTTPTypes
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOSSL

/// The child channel of one listener: Hummingbird's request loop on a pipeline of our own.
///
///     plain: parser · SendfileHandler · ConnectionHandler · NIOAsyncChannel
///     TLS:   NIOSSLServerHandler · parser · ConnectionHandler · NIOAsyncChannel
struct ConnectionChannel: Sendable {
    typealias AsyncChannel = NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>

    struct Accepted: Sendable {
        let channel: AsyncChannel
        let connection: Connection
    }

    enum Security: Sendable {
        case plain
        case tls(ServerTLS)
    }

    let security: Security
    let limits: ServerLimits
    let registry: ConnectionRegistry
    let statistics: ServerStatistics
    let logger: Logger

    /// Builds a connection's pipeline. Called on the connection's event loop. What it returns must reach `handle` or
    /// `refuse`: an asynchronous channel that is let go otherwise ends the process.
    func setup(_ channel: any Channel) throws -> Accepted {
        let pipeline = channel.pipeline.syncOperations
        let connection: Connection
        switch security {
        case .plain:
            connection = Connection(channel: channel, transfer: .sendfile, statistics: statistics)
            try pipeline.addHandlers([parser(), SendfileHandler(statistics: statistics)])
        case .tls(let tls):
            connection = Connection(channel: channel, transfer: .chunks, statistics: statistics)
            try pipeline.addHandlers([NIOSSLServerHandler(context: tls.current), parser()])
        }
        try pipeline.addHandler(ConnectionHandler(connection: connection, limits: limits))
        let asyncChannel = try AsyncChannel(
            wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
        registry.add(channel)
        return Accepted(channel: asyncChannel, connection: connection)
    }

    /// Closes a connection that came in when its listener had already ended.
    static func refuse(_ accepted: Accepted) {
        Task { try? await accepted.channel.executeThenClose { _, _ in } }
    }

    private func parser() -> ByteToMessageHandler<HTTPRequestDecoder> {
        var configuration = NIOHTTPDecoderLimitConfiguration()
        configuration.maxHeaderFieldSize = limits.headerField
        configuration.maxHeaderListSize = limits.headerList
        configuration.maxHeaderFieldCount = limits.headerCount
        return ByteToMessageHandler(HTTPRequestDecoder(limitConfiguration: configuration))
    }

    /// Serves a connection until it closes.
    func handle(_ accepted: Accepted, edge: Edge) async {
        let loop = RequestLoop { request, writer, _ in
            try await edge.serve(request, writer: writer, on: accepted.connection)
        }
        await loop.handleHTTP(asyncChannel: accepted.channel, logger: logger)
    }
}

/// Hummingbird's loop over the requests of one connection.
private struct RequestLoop: HTTPChannelHandler {
    let responder: Responder

    init(responder: @escaping Responder) { self.responder = responder }

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<ConnectionChannel.AsyncChannel> {
        channel.eventLoop.makeCompletedFuture {
            try ConnectionChannel.AsyncChannel(wrappingChannelSynchronously: channel)
        }
    }

    func handle(value: ConnectionChannel.AsyncChannel, logger: Logger) async {
        await handleHTTP(asyncChannel: value, logger: logger)
    }
}
