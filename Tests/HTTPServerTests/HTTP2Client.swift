import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOPosix
import NIOSSL

@testable import HTTPServer

/// An HTTP/2 client that keeps the protocol's rules: NIO's, with a connection that lives as long as a closure.
struct HTTP2Client: Sendable {
    typealias Frame = HTTP2Frame.FramePayload
    typealias StreamChannel = NIOAsyncChannel<Frame, Frame>

    enum Failure: Error { case noAnswer }

    struct Answer: Sendable {
        let status: Int
        let headers: HPACKHeaders
        let body: [UInt8]

        var text: String { String(decoding: body, as: UTF8.self) }
        subscript(_ name: String) -> String? { headers.first(name: name) }
    }

    let channel: any Channel
    private let multiplexer: NIOHTTP2Handler.AsyncStreamMultiplexer<StreamChannel>

    static func with<Result: Sendable>(
        port: Int, authority: String, identity: TLSFiles? = nil,
        _ body: @Sendable (HTTP2Client) async throws -> Result
    ) async throws -> Result {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.trustRoots = .file(authority)
        configuration.applicationProtocols = ["h2"]
        if let identity {
            configuration.certificateChain = try NIOSSLCertificate.fromPEMFile(identity.certificate)
                .map { .certificate($0) }
            configuration.privateKey = .privateKey(try NIOSSLPrivateKey(file: identity.key, format: .pem))
        }
        let context = try NIOSSLContext(configuration: configuration)
        let (channel, multiplexer) = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(NIOSSLClientHandler(context: context, serverHostname: "localhost"))
                    let multiplexer = try pipeline.configureAsyncHTTP2Pipeline(mode: .client) { stream in
                        stream.eventLoop.makeCompletedFuture {
                            try StreamChannel(wrappingChannelSynchronously: stream)
                        }
                    }
                    return (channel, multiplexer)
                }
            }
        let client = HTTP2Client(channel: channel, multiplexer: multiplexer)
        do {
            let result = try await body(client)
            try? await channel.close()
            return result
        } catch {
            try? await channel.close()
            throw error
        }
    }

    /// Runs a closure with a new stream, which is reset if it is not at its end then.
    func stream<Result: Sendable>(
        _ body:
            @Sendable (NIOAsyncChannelInboundStream<Frame>, NIOAsyncChannelOutboundWriter<Frame>) async throws ->
            Result
    ) async throws -> Result {
        let stream = try await multiplexer.openStream { stream in
            stream.eventLoop.makeCompletedFuture { try StreamChannel(wrappingChannelSynchronously: stream) }
        }
        return try await stream.executeThenClose { try await body($0, $1) }
    }

    static func head(
        _ method: String, _ path: String, _ headers: HPACKHeaders = [:], isEnd: Bool = true
    ) -> Frame {
        var all: HPACKHeaders = [
            ":method": method, ":scheme": "https", ":path": path, ":authority": "localhost",
        ]
        all.add(contentsOf: headers)
        return .headers(.init(headers: all, endStream: isEnd))
    }

    static func data(_ bytes: [UInt8], isEnd: Bool = false) -> Frame {
        .data(.init(data: .byteBuffer(ByteBuffer(bytes: bytes)), endStream: isEnd))
    }

    /// A request and its answer.
    func request(
        _ method: String, _ path: String, _ headers: HPACKHeaders = [:], body: [UInt8]? = nil,
        trailers: HPACKHeaders? = nil
    ) async throws -> Answer {
        try await stream { inbound, outbound in
            try await outbound.write(Self.head(method, path, headers, isEnd: body == nil))
            return try await withThrowingTaskGroup(of: Void.self) { group in
                if let body {
                    group.addTask {
                        var rest = body[...]
                        while !rest.isEmpty {
                            try await outbound.write(Self.data(Array(rest.prefix(60_000))))
                            rest = rest.dropFirst(60_000)
                        }
                        if let trailers {
                            try await outbound.write(.headers(.init(headers: trailers, endStream: true)))
                        } else {
                            try await outbound.write(Self.data([], isEnd: true))
                        }
                    }
                }
                let answer = try await Self.answer(inbound)
                group.cancelAll()
                while let result = await group.nextResult() {
                    // An answer may come before the body is through.
                    if case .failure(let error) = result, !(error is CancellationError), !Self.isOver(error) {
                        throw error
                    }
                }
                return answer
            }
        }
    }

    private static func isOver(_ error: any Error) -> Bool {
        error is ChannelError || error is NIOHTTP2Errors.StreamClosed || error is NIOHTTP2Errors.NoSuchStream
    }

    /// Reads frames to the stream's end.
    static func answer(_ inbound: NIOAsyncChannelInboundStream<Frame>) async throws -> Answer {
        var headers: HPACKHeaders?
        var body: [UInt8] = []
        for try await frame in inbound {
            switch frame {
            case .headers(let content):
                if headers == nil, content.headers.first(name: ":status") != "100" { headers = content.headers }
                if content.endStream { return try finished(headers, body) }
            case .data(let content):
                if case .byteBuffer(let buffer) = content.data { body += buffer.readableBytesView }
                if content.endStream { return try finished(headers, body) }
            default: break
            }
        }
        throw Failure.noAnswer
    }

    private static func finished(_ headers: HPACKHeaders?, _ body: [UInt8]) throws -> Answer {
        guard let headers, let status = headers.first(name: ":status").flatMap(Int.init) else {
            throw Failure.noAnswer
        }
        return Answer(status: status, headers: headers, body: body)
    }
}
