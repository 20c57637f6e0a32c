import Foundation
import Logging
import NIOCore
import NIOEmbedded
import TestSupport
import Testing

@testable import HTTPServer

@Suite("A listening socket")
struct AcceptHandlerTests {
    /// Stands where the socket is and counts how often it is asked for connections.
    private final class Socket: ChannelOutboundHandler {
        typealias OutboundIn = Never
        var reads = 0

        func read(context: ChannelHandlerContext) { reads += 1 }
    }

    /// Stands where the server is and sees what comes through.
    private final class Listener: ChannelInboundHandler {
        typealias InboundIn = any Channel
        var errors = 0
        func errorCaught(context: ChannelHandlerContext, error: any Error) { errors += 1 }
    }

    @Test(
        "An accept that fails is not the listener's end: it rests and goes on, and another connection makes room",
        arguments: [(EMFILE, 1), (ECONNABORTED, 0), (ENOMEM, 1)])
    func errors(code: CInt, closed: Int) throws {
        let (socket, listener) = (Socket(), Listener())
        let made = Count()
        let handler = AcceptHandler(logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }) { made.add(1) }
        let channel = EmbeddedChannel(handlers: [socket, handler, listener])
        channel.pipeline.read()
        #expect(socket.reads == 1)
        channel.pipeline.fireErrorCaught(IOError(errnoCode: code, reason: "accept"))
        #expect(listener.errors == 0)
        channel.pipeline.read()
        #expect(socket.reads == 1)
        channel.embeddedEventLoop.advanceTime(by: AcceptHandler.rest)
        #expect(socket.reads == 2)
        #expect(made.value == closed)
        _ = try channel.finish()
    }
}
