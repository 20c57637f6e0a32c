import CLinux
import Glibc
import NIOCore
import NIOPosix
import OCI
import Synchronization

/// An HTTP proxy on the loopback address that a git process has to use, so that `DestinationRules` hold for all that it
/// connects to: redirects and submodules choose hosts that nobody has judged before.
///
/// It tunnels (RFC 9110, section 9.3.6) and, where http is allowed, forwards requests, one for a connection. Who does
/// not know its password gets nothing.
final class GitProxy: Sendable {
    /// Bytes of a request's head.
    private static let maximumHead = 64 << 10
    private typealias Connection = NIOAsyncChannel<ByteBuffer, ByteBuffer>

    private let rules: DestinationRules
    private let password: String
    private let connectTimeout: TimeAmount
    private let lastRefusal = Mutex<TransferFailure?>(nil)

    private init(_ rules: DestinationRules, connectTimeout: TimeAmount) {
        self.rules = rules
        self.connectTimeout = connectTimeout
        var random = SystemRandomNumberGenerator()
        password = hexadecimal((0..<32).map { _ in UInt8.random(in: 0...255, using: &random) })
    }

    /// Why the last request was refused that was.
    var refusal: TransferFailure? { lastRefusal.withLock { $0 } }

    /// Runs a body with a proxy, and closes it and its connections afterwards.
    /// - Parameter body: gets the proxy's URL, which is a secret.
    static func with<Value: Sendable>(
        _ rules: DestinationRules, connectTimeout: TimeAmount,
        _ body: (_ proxy: GitProxy, _ url: String) async throws -> Value
    ) async throws -> Value {
        let proxy = GitProxy(rules, connectTimeout: connectTimeout)
        let server: NIOAsyncChannel<Connection, Never>
        do {
            server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .bind(host: "127.0.0.1", port: 0) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try Connection(
                            wrappingChannelSynchronously: channel,
                            configuration: .init(isOutboundHalfClosureEnabled: true))
                    }
                }
        } catch {
            throw TransferFailure(.file, "git's proxy can't listen on the loopback address")
        }
        let port = server.channel.localAddress?.port ?? 0
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try? await server.executeThenClose { inbound in
                    await withDiscardingTaskGroup { connections in
                        do {
                            for try await connection in inbound {
                                connections.addTask { try? await proxy.serve(connection) }
                            }
                        } catch {
                            // The listener is closed: nobody waits for an answer.
                        }
                        connections.cancelAll()
                    }
                }
            }
            defer { group.cancelAll() }
            return try await body(proxy, "http://git:\(proxy.password)@127.0.0.1:\(port)")
        }
    }

    private func serve(_ connection: Connection) async throws {
        try await connection.executeThenClose { inbound, outbound in
            var received = ByteBuffer()
            var head: [UInt8]?
            var iterator = inbound.makeAsyncIterator()
            while head == nil {
                guard received.readableBytes <= Self.maximumHead, var more = try await iterator.next() else { return }
                received.writeBuffer(&more)
                let bytes = Array(received.readableBytesView)
                if let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) {
                    head = Array(bytes[..<end.lowerBound])
                    received.moveReaderIndex(forwardBy: end.upperBound)
                }
            }
            guard let head, let request = ProxyRequest(head: String(decoding: head, as: UTF8.self)) else {
                return try await answer(outbound, "400 Bad Request")
            }
            guard request.password == password else {
                return try await answer(
                    outbound, "407 Proxy Authentication Required", "Proxy-Authenticate: Basic realm=\"git\"\r\n")
            }
            let server: Connection
            do { server = try await connect(request) } catch {
                lastRefusal.withLock { $0 = error as? TransferFailure }
                return try await answer(outbound, "403 Forbidden")
            }
            try await server.executeThenClose { serverInbound, serverOutbound in
                if let forwarded = request.forwarded {
                    try await serverOutbound.write(ByteBuffer(string: forwarded))
                } else {
                    try await outbound.write(ByteBuffer(string: "HTTP/1.1 200 Connection established\r\n\r\n"))
                }
                if received.readableBytes > 0 { try await serverOutbound.write(received) }
                // Neither side of HTTP goes on after the other has ended the connection.
                await withTaskGroup(of: Void.self) { group in
                    group.addTask {
                        do { for try await bytes in serverInbound { try await outbound.write(bytes) } } catch {
                            // A side that went away is one that has ended.
                        }
                        // All that was written arrives before the end does; the client then closes its side.
                        outbound.finish()
                    }
                    do { while let bytes = try await iterator.next() { try await serverOutbound.write(bytes) } } catch {
                        // As above.
                    }
                    group.cancelAll()
                }
            }
        }
    }

    private func answer(
        _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>, _ status: String, _ headers: String = ""
    ) async throws {
        try await outbound.write(
            ByteBuffer(string: "HTTP/1.1 \(status)\r\n\(headers)Content-Length: 0\r\nConnection: close\r\n\r\n"))
    }

    private func connect(_ request: ProxyRequest) async throws -> Connection {
        if !request.isTunnel, !rules.allowsPlain {
            throw TransferFailure(.forbidden, "\(request.host): only https is fetched from")
        }
        var last: any Error = TransferFailure(.unreachable, "\(request.host) has no address")
        for address in try await rules.addresses(of: request.host, port: request.port) {
            do {
                return try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                    .connectTimeout(connectTimeout)
                    .connect(to: SocketAddress(ipAddress: address.description, port: request.port)) { channel in
                        channel.eventLoop.makeCompletedFuture { try Connection(wrappingChannelSynchronously: channel) }
                    }
            } catch { last = error }
        }
        if last is TransferFailure { throw last }
        throw TransferFailure(.unreachable, "\(request.host):\(request.port) can't be connected to")
    }
}

/// What a client asks a proxy for.
private struct ProxyRequest {
    let isTunnel: Bool
    let host: String
    let port: Int
    let password: String?
    /// The head that the server gets, if this is no tunnel.
    let forwarded: String?

    init?(head: String) {
        var lines = head.split(separator: "\r\n", omittingEmptySubsequences: false)
        let words = lines.removeFirst().split(separator: " ")
        guard words.count == 3, words[2].hasPrefix("HTTP/1.") else { return nil }
        func name(_ line: Substring) -> String { line.prefix { $0 != ":" }.lowercased() }
        var found: String?
        if let line = lines.first(where: { name($0) == "proxy-authorization" }) {
            let value = line.drop { $0 != ":" }.dropFirst().drop { $0 == " " }
            let parts = value.split(separator: " ")
            if parts.count == 2, parts[0].lowercased() == "basic", let decoded = Base64.decode(parts[1]),
                case let text = String(decoding: decoded, as: UTF8.self), text.hasPrefix("git:")
            {
                found = String(text.dropFirst(4))
            }
        }
        password = found
        isTunnel = words[0] == "CONNECT"
        if isTunnel {
            guard let (host, port) = TransferURL.hostAndPort(words[1]), let port else { return nil }
            self.host = host
            self.port = port
            forwarded = nil
        } else {
            guard let url = try? TransferURL(String(words[1])), url.scheme == .http else { return nil }
            host = url.host
            port = url.port
            let kept = lines.filter { !["proxy-authorization", "proxy-connection", "connection"].contains(name($0)) }
            let target = url.withoutCredentials.dropFirst(url.origin.count)
            // One request a connection: a second one might be for another host.
            forwarded = (["\(words[0]) \(target) \(words[2])"] + kept.map(String.init) + ["Connection: close", "", ""])
                .joined(separator: "\r\n")
        }
    }
}
