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
        var connections = 0

        func channelRead(context: ChannelHandlerContext, data: NIOAny) { connections += 1 }
        func errorCaught(context: ChannelHandlerContext, error: any Error) { errors += 1 }
    }

    private func make(maximum: Int, maximumOfAddress: Int = 10) throws -> (EmbeddedChannel, Socket, Listener) {
        let (socket, listener) = (Socket(), Listener())
        let channel = EmbeddedChannel(
            handlers: [
                socket,
                AcceptHandler(
                    maximum: maximum, maximumOfAddress: maximumOfAddress,
                    logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }), listener,
            ])
        channel.pipeline.read()
        return (channel, socket, listener)
    }

    @Test(
        "An accept that fails is not the listener's end: it rests and goes on",
        arguments: [EMFILE, ECONNABORTED, ENOMEM])
    func errors(code: CInt) throws {
        let (channel, socket, listener) = try make(maximum: 10)
        #expect(socket.reads == 1)
        channel.pipeline.fireErrorCaught(IOError(errnoCode: code, reason: "accept"))
        #expect(listener.errors == 0)
        channel.pipeline.read()
        #expect(socket.reads == 1)
        channel.embeddedEventLoop.advanceTime(by: AcceptHandler.rest)
        #expect(socket.reads == 2)
        _ = try channel.finish()
    }

    @Test("At its bound it asks for no more connections until one has closed")
    func bound() throws {
        let (channel, socket, listener) = try make(maximum: 1)
        let connection = EmbeddedChannel(loop: channel.embeddedEventLoop)
        channel.pipeline.fireChannelRead(connection as any Channel)
        channel.pipeline.read()
        #expect(listener.connections == 1)
        #expect(socket.reads == 1)
        connection.close(promise: nil)
        channel.embeddedEventLoop.run()
        #expect(socket.reads == 2)
        _ = try channel.finish()
    }

    private func connection(_ channel: EmbeddedChannel, from address: String) throws -> EmbeddedChannel {
        let connection = EmbeddedChannel(loop: channel.embeddedEventLoop)
        connection.remoteAddress = try SocketAddress(ipAddress: address, port: 1)
        channel.pipeline.fireChannelRead(connection as any Channel)
        channel.embeddedEventLoop.run()
        return connection
    }

    @Test("An address beyond its bound is turned away, and others are not", arguments: ["192.0.2.1", "2001:db8::1"])
    func boundOfAddress(address: String) throws {
        let (channel, _, listener) = try make(maximum: 100, maximumOfAddress: 3)
        var connections: [EmbeddedChannel] = []
        for _ in 0..<3 { connections.append(try connection(channel, from: address)) }
        #expect(listener.connections == 3)
        for _ in 0..<5 { #expect(try connection(channel, from: address).isClosed) }
        #expect(listener.connections == 3)
        let other = try connection(channel, from: "192.0.2.2")
        #expect(!other.isClosed)
        #expect(listener.connections == 4)
        connections.removeLast().close(promise: nil)
        channel.embeddedEventLoop.run()
        #expect(try !connection(channel, from: address).isClosed)
        #expect(try connection(channel, from: address).isClosed)
        #expect(listener.connections == 5)
        _ = try channel.finish()
    }
}

extension EmbeddedChannel {
    fileprivate var isClosed: Bool {
        let closed = Count()
        closeFuture.whenComplete { _ in closed.add(1) }
        embeddedEventLoop.run()
        return closed.value == 1
    }
}
