import HTTPTypes
import NIOCore
import NIOEmbedded
import NIOHTTP1
import NIOHTTPTypes
import Testing

@testable import HTTPServer
@testable import Identity

@Suite("A connection under a clock of the test's")
struct ConnectionHandlerTests {
    /// Stands where requests are answered and sees what reaches it.
    private final class Reader: ChannelInboundHandler {
        typealias InboundIn = HTTPRequestPart
        var errors: [any Error] = []
        var heads = 0

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            if case .head = Self.unwrapInboundIn(data) { heads += 1 }
        }
        func errorCaught(context: ChannelHandlerContext, error: any Error) { errors.append(error) }
    }

    private struct Harness {
        let channel = EmbeddedChannel()
        let reader = Reader()

        init(_ limits: ServerLimits = ServerLimits()) throws {
            let connection = Connection(
                channel: channel, transfer: .sendfile, memory: .memory(64 << 20), statistics: ServerStatistics())
            let meter = HeadMeterHandler(connection: connection)
            try channel.pipeline.syncOperations.addHandlers([
                meter, ByteToMessageHandler(HTTPRequestDecoder()),
                ConnectionHandler(connection: connection, meter: meter, limits: limits, since: channel.eventLoop.now),
                reader,
            ])
            channel.connect(to: try SocketAddress(ipAddress: "192.0.2.1", port: 1), promise: nil)
            channel.embeddedEventLoop.run()
        }

        func send(_ text: String) throws {
            try channel.writeInbound(ByteBuffer(string: text))
            // As the channel above does while it wants more.
            channel.pipeline.read()
        }

        func wait(_ seconds: Int64) { channel.embeddedEventLoop.advanceTime(by: .seconds(seconds)) }

        /// How many seconds until the connection is closed; nil if it is open after that many.
        func closes(within seconds: Int) -> Int? {
            (1...seconds).first { _ in
                wait(1)
                return !channel.isActive
            }
        }

        func answer(end: Bool = true) throws {
            let head = HTTPResponse(status: .ok, headerFields: [.contentLength: "2"])
            channel.write(HTTPResponsePart.head(head), promise: nil)
            channel.write(HTTPResponsePart.body(ByteBuffer(string: "ok")), promise: nil)
            if end { channel.write(HTTPResponsePart.end(nil), promise: nil) }
            channel.flush()
        }

        /// What was sent so far.
        func sent() throws -> String {
            var text = ""
            while let data = try channel.readOutbound(as: IOData.self) {
                if case .byteBuffer(let buffer) = data { text += String(buffer: buffer) }
            }
            return text
        }

        func finish() { _ = try? channel.finish(acceptAlreadyClosed: true) }
    }

    @Test(
        "A head has headTime from the connection's start, however it trickles", arguments: ["", "GET / HTTP/1.1\r\n"])
    func head(text: String) throws {
        let harness = try Harness()
        defer { harness.finish() }
        var seconds = 0
        while harness.channel.isActive, seconds < 100 {
            if !text.isEmpty { try harness.send(seconds == 0 ? text : "X-\(seconds): y\r\n") }
            harness.wait(1)
            seconds += 1
        }
        #expect(seconds == 15)
        #expect(harness.reader.heads == 0)
    }

    @Test("After a response the next head has idleTime")
    func idle() throws {
        let harness = try Harness()
        defer { harness.finish() }
        for _ in 0..<3 {
            try harness.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            harness.wait(1000)
            #expect(harness.channel.isActive, "a route may think as long as it likes")
            try harness.answer()
            harness.wait(74)
            #expect(harness.channel.isActive)
        }
        #expect(harness.closes(within: 100) == 1)
    }

    @Test("A body that trickles below the rate is told to its reader, and the connection closes after the answer")
    func body() throws {
        let harness = try Harness()
        defer { harness.finish() }
        try harness.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        // 2 KiB in 30 s are enough.
        for _ in 0..<120 {
            try harness.send(String(repeating: "x", count: 70))
            harness.wait(1)
        }
        #expect(harness.reader.errors.isEmpty)
        var seconds = 0
        while harness.reader.errors.isEmpty, seconds < 1000 {
            try harness.send("x")
            harness.wait(1)
            seconds += 1
        }
        #expect((30...60).contains(seconds))
        #expect(harness.reader.errors.first as? ConnectionError == .stalled)
        try harness.answer()
        #expect(try #require(harness.closes(within: 100)) <= 2)
    }

    @Test("What is wrong with a request's head does not touch the answers to those before it")
    func pipelinedBomb() throws {
        let harness = try Harness()
        defer { harness.finish() }
        let good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        let bomb = "GET / HTTP/1.1\r\nX: " + String(repeating: "x", count: 200_000) + "\r\n\r\n"
        try? harness.send(good + good + bomb)
        #expect(harness.reader.heads == 2)
        #expect(harness.reader.errors.first as? HTTPParserError == .headerOverflow)
        for _ in 0..<2 {
            try harness.answer()
            let text = try harness.sent()
            #expect(text.hasPrefix("HTTP/1.1 200 OK\r\n") && !text.contains("close"), "\(text)")
        }
    }

    @Test("A client that never ends its body is stopped after exchangeTime though it keeps the rate")
    func endless() throws {
        var limits = ServerLimits()
        limits.exchangeTime = .seconds(600)
        let harness = try Harness(limits)
        defer { harness.finish() }
        try harness.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        let chunk = "400\r\n" + String(repeating: "x", count: 1024) + "\r\n"
        var seconds = 0
        while harness.reader.errors.isEmpty, seconds < 2000 {
            try harness.send(chunk)
            harness.wait(1)
            seconds += 1
        }
        #expect((600...630).contains(seconds))
    }

    @Test("A client that stops reading its response is cut; one whose route is slow is not")
    func reading() throws {
        let harness = try Harness()
        defer { harness.finish() }
        try harness.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        try harness.answer(end: false)
        harness.wait(1000)
        #expect(harness.channel.isActive)
        harness.channel.isWritable = false
        harness.channel.pipeline.fireChannelWritabilityChanged()
        let closed = try #require(harness.closes(within: 100))
        #expect((30...61).contains(closed))
    }

    @Test("While the server stops, a client has its moment from the end of the answer that was under way")
    func stopsAfterAnswer() throws {
        var limits = ServerLimits()
        limits.drainIdleTime = .seconds(3)
        let harness = try Harness(limits)
        defer { harness.finish() }
        try harness.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        // Its head promises that the connection stays, before the server is asked to stop.
        try harness.answer(end: false)
        harness.channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        harness.wait(2)
        harness.channel.writeAndFlush(HTTPResponsePart.end(nil), promise: nil)
        harness.wait(2)
        try harness.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(harness.reader.heads == 2 && harness.channel.isActive, "four seconds after the stop, two idle")
    }
}
