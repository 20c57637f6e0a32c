import FoundationEssentials
import NIOCore
import NIOSSL
import NIOTLS

/// Waits above TLS until the handshake has told who the client is and which HTTP it speaks. Then it builds the rest of
/// the pipeline, before the first bytes of that HTTP arrive, and removes itself.
final class NegotiationHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    /// Adds the handlers of HTTP to a pipeline.
    /// - Parameters:
    ///   - isHTTP2: whether HTTP/2 was negotiated; without ALPN it is HTTP/1.1.
    ///   - since: when the connection began.
    typealias Build = (_ isHTTP2: Bool, _ since: NIODeadline) throws -> ConnectionChannel.Version

    private let connection: Connection
    private let limits: ServerLimits
    private let since: NIODeadline
    private let build: Build
    private var version: EventLoopPromise<ConnectionChannel.Version>?
    private var timers: [Scheduled<Void>] = []
    private var isDraining = false

    /// - Parameter version: receives what `build` returns; it succeeds or fails before this handler is removed.
    init(
        connection: Connection, limits: ServerLimits, version: EventLoopPromise<ConnectionChannel.Version>,
        build: @escaping Build
    ) {
        self.connection = connection
        self.limits = limits
        self.version = version
        self.build = build
        since = connection.channel.eventLoop.now
    }

    func handlerAdded(context: ChannelHandlerContext) { cut(context, in: limits.headTime) }

    func handlerRemoved(context: ChannelHandlerContext) {
        for timer in timers { timer.cancel() }
        version?.fail(ConnectionError.cut)
        version = nil
    }

    private func cut(_ context: ChannelHandlerContext, in time: Duration) {
        timers.append(context.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(time)) { context.cut() })
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent {
            isDraining = true
            cut(context, in: limits.drainIdleTime)
        } else if case .handshakeCompleted(let name)? = event as? TLSUserEvent {
            negotiated(name, context)
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    private func negotiated(_ name: String?, _ context: ChannelHandlerContext) {
        // Nobody is left to serve the connection, or the client's certificate can't be accepted.
        guard let version, !connection.isClosing, readCertificate(context) else {
            context.cut()
            return
        }
        do {
            let built = try build(name == "h2", since)
            self.version = nil
            version.succeed(built)
            if isDraining { context.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent()) }
            context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
        } catch {
            context.cut()
        }
    }

    /// Takes the user from the certificate that the handshake has verified, or that a resumed session had verified.
    /// - Returns: false if the certificate can't be read, or is no longer valid.
    private func readCertificate(_ context: ChannelHandlerContext) -> Bool {
        guard let tls = try? context.pipeline.syncOperations.handler(type: NIOSSLServerHandler.self),
            let certificate = tls.peerCertificate
        else { return true }
        guard let client = try? ClientCertificate(certificate), client.notValidAfter > Date() else { return false }
        connection.markCertified(client.user)
        return true
    }
}
