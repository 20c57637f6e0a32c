import NIOCore
import NIOPosix
import NIOSSL

@testable import HTTPServer

/// A client that sends what a test wants, right or wrong, and shows what came back byte by byte.
///
/// One task sends and one receives; they share nothing that changes.
final class RawClient: @unchecked Sendable {
    enum Failure: Error { case ended(String), malformed(String) }

    struct Answer {
        let status: Int
        let headers: [String: String]
        let body: [UInt8]

        var text: String { String(decoding: body, as: UTF8.self) }
        subscript(_ name: String) -> String? { headers[name.lowercased()] }
    }

    private var inbound: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    private let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    private let channel: any Channel
    private var buffer: [UInt8] = []
    /// How many bytes came so far.
    private(set) var received = 0

    private init(
        _ channel: any Channel, _ inbound: NIOAsyncChannelInboundStream<ByteBuffer>,
        _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    ) {
        self.channel = channel
        self.inbound = inbound.makeAsyncIterator()
        self.outbound = outbound
    }

    /// - Parameters:
    ///   - authority: the path of a certificate to trust; nil speaks plain HTTP.
    ///   - identity: a certificate and key to show.
    ///   - protocols: what ALPN offers.
    ///   - receiveBuffer: of the socket, in bytes.
    static func with<Result: Sendable>(
        port: Int, authority: String? = nil, name: String = "localhost", identity: TLSFiles? = nil,
        protocols: [String] = ["http/1.1"], receiveBuffer: Int? = nil,
        _ body: (RawClient) async throws -> Result
    ) async throws -> Result {
        var tls: NIOSSLContext?
        if let authority {
            var configuration = TLSConfiguration.makeClientConfiguration()
            configuration.trustRoots = .file(authority)
            configuration.applicationProtocols = protocols
            if let identity {
                configuration.certificateChain = try NIOSSLCertificate.fromPEMFile(identity.certificate)
                    .map { .certificate($0) }
                configuration.privateKey = .privateKey(try NIOSSLPrivateKey(file: identity.key, format: .pem))
            }
            tls = try NIOSSLContext(configuration: configuration)
        }
        var bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.allowRemoteHalfClosure, value: true)
        if let receiveBuffer {
            bootstrap = bootstrap.channelOption(.socketOption(.so_rcvbuf), value: SocketOptionValue(receiveBuffer))
        }
        let context = tls
        let channel = try await bootstrap.connect(host: "127.0.0.1", port: port) { channel in
            channel.eventLoop.makeCompletedFuture {
                if let context {
                    let isAddress = name.utf8.allSatisfy { $0 < UInt8(ascii: "A") }
                    try channel.pipeline.syncOperations.addHandler(
                        NIOSSLClientHandler(context: context, serverHostname: isAddress ? nil : name))
                }
                return try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
                    wrappingChannelSynchronously: channel,
                    configuration: .init(
                        backPressureStrategy: .init(lowWatermark: 1, highWatermark: 2),
                        isOutboundHalfClosureEnabled: true))
            }
        }
        return try await channel.executeThenClose { inbound, outbound in
            try await body(RawClient(channel.channel, inbound, outbound))
        }
    }

    func send(_ text: String) async throws { try await outbound.write(ByteBuffer(string: text)) }
    func send(_ bytes: [UInt8]) async throws { try await outbound.write(ByteBuffer(bytes: bytes)) }

    /// Nothing more will be sent.
    func finish() { outbound.finish() }

    /// Ends the connection by a reset.
    func reset() async throws {
        try await (channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0)).get()
        // Below TLS, which would say goodbye first.
        try await channel.eventLoop.submit { [channel] in
            let pipeline = channel.pipeline.syncOperations
            if let context = try? pipeline.context(handlerType: NIOSSLClientHandler.self) {
                context.close(promise: nil)
            } else {
                channel.close(promise: nil)
            }
        }.get()
    }

    /// A request and its answer.
    func request(
        _ method: String, _ target: String, _ headers: [String: String] = [:], body: [UInt8] = []
    ) async throws -> Answer {
        var head = "\(method) \(target) HTTP/1.1\r\nHost: localhost\r\n"
        for (name, value) in headers { head += "\(name): \(value)\r\n" }
        if !body.isEmpty { head += "Content-Length: \(body.count)\r\n" }
        try await send(Array((head + "\r\n").utf8) + body)
        return try await answer(to: method)
    }

    /// The next answer, read by its framing.
    func answer(to method: String = "GET") async throws -> Answer {
        while find([13, 10, 13, 10]) == nil { try await more() }
        guard let end = find([13, 10, 13, 10]) else { throw Failure.malformed("no head") }
        let lines = String(decoding: buffer[..<end], as: UTF8.self).split(separator: "\r\n")
        buffer.removeFirst(end + 4)
        guard let first = lines.first, first.hasPrefix("HTTP/1.1 "), let status = Int(first.dropFirst(9).prefix(3))
        else {
            throw Failure.malformed(String(lines.first ?? ""))
        }
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            headers[parts[0].lowercased()] = parts[1].drop { $0 == " " }.description
        }
        if method == "HEAD" || status == 304 || status == 204 || status < 200 {
            return Answer(status: status, headers: headers, body: [])
        }
        if headers["transfer-encoding"] == "chunked" {
            return Answer(status: status, headers: headers, body: try await chunks())
        }
        let length = headers["content-length"].flatMap(Int.init) ?? 0
        while buffer.count < length { try await more() }
        let body = Array(buffer[..<length])
        buffer.removeFirst(length)
        return Answer(status: status, headers: headers, body: body)
    }

    /// Everything until the server closes.
    func rest() async throws -> [UInt8] {
        while let bytes = try await inbound.next() { take(bytes) }
        defer { buffer = [] }
        return buffer
    }

    /// So many bytes.
    func take(_ count: Int) async throws -> [UInt8] {
        while buffer.count < count { try await more() }
        defer { buffer.removeFirst(count) }
        return Array(buffer[..<count])
    }

    /// Reads at least one more byte.
    func more() async throws {
        guard let bytes = try await inbound.next() else {
            throw Failure.ended(String(decoding: buffer.prefix(200), as: UTF8.self))
        }
        take(bytes)
    }

    private func take(_ bytes: ByteBuffer) {
        buffer += bytes.readableBytesView
        received += bytes.readableBytes
    }

    private func chunks() async throws -> [UInt8] {
        var body: [UInt8] = []
        while true {
            while find([13, 10]) == nil { try await more() }
            guard let end = find([13, 10]), let size = Int(String(decoding: buffer[..<end], as: UTF8.self), radix: 16)
            else { throw Failure.malformed("a chunk's size") }
            while buffer.count < end + 2 + size + 2 { try await more() }
            body += buffer[(end + 2)..<(end + 2 + size)]
            buffer.removeFirst(end + 2 + size + 2)
            if size == 0 { return body }
        }
    }

    private func find(_ pattern: [UInt8]) -> Int? {
        guard buffer.count >= pattern.count else { return nil }
        return (0...(buffer.count - pattern.count)).first { buffer[$0...].starts(with: pattern) }
    }
}
