import JSON
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import NIOWebSocket

/// What a command in a container has printed.
package enum ExecOutput: Sendable, Hashable {
    case standardOutput([UInt8])
    case standardError([UInt8])
}

/// Standard input of a command in a container.
package struct ExecInput: Sendable {
    fileprivate let outbound: NIOAsyncChannelOutboundWriter<WebSocketFrame>
    private static let piece = 32 << 10

    /// Waits until the connection takes the bytes.
    package func write(_ bytes: [UInt8]) async throws {
        for start in stride(from: 0, to: bytes.count, by: Self.piece) {
            let piece = bytes[start..<min(start + Self.piece, bytes.count)]
            try await outbound.write(PodExec.frame(.binary, [PodExec.standardInput] + piece))
        }
    }
}

/// The command that runs in a container, by the protocol `v5.channel.k8s.io` or `v4.channel.k8s.io` over WebSocket
/// (KEP-4006): the first byte of each message is its channel.
enum PodExec {
    static let standardInput: UInt8 = 0
    static let standardOutput: UInt8 = 1
    static let standardError: UInt8 = 2
    static let status: UInt8 = 3
    /// v5 only: the other byte is a channel that ends.
    static let end: UInt8 = 255

    static let protocols = ["v5.channel.k8s.io", "v4.channel.k8s.io"]
    /// The largest message that is taken, in bytes.
    static let maximumMessage = 1 << 20
    static let maximumStatus = 64 << 10

    static func frame(_ opcode: WebSocketOpcode, _ bytes: some Sequence<UInt8>) -> WebSocketFrame {
        // What a client sends is masked (RFC 6455, section 5.3).
        WebSocketFrame(fin: true, opcode: opcode, maskKey: .random(), data: ByteBuffer(bytes: bytes))
    }

    /// The exit status that the last message tells.
    /// - Throws: `KubernetesError.refused` if the command could not be run.
    static func exitStatus(_ bytes: [UInt8]) throws(KubernetesError) -> Int32 {
        guard let json = try? JSONValue(parsing: bytes), json["kind"]?.string == "Status" else {
            throw .malformed("a command's end is no Status")
        }
        if json["status"]?.string == "Success" { return 0 }
        let status = APIStatus(json, code: 500)
        if status.reason == "NonZeroExitCode",
            let code = status.causes.first(where: { $0.reason == "ExitCode" }).flatMap({ Int32($0.message) })
        {
            return code
        }
        throw .refused(status)
    }
}

/// Puts the messages of a session together and looks for its end.
struct PodExecReader {
    private var channel: UInt8?
    private var status: [UInt8] = []

    enum Event: Equatable {
        case output(ExecOutput)
        case pong([UInt8])
        case closed
        case none
    }

    /// What the server has said of the command's end; empty if nothing.
    var statusBytes: [UInt8] { status }

    /// - Throws: `KubernetesError.malformed`.
    mutating func take(_ frame: WebSocketFrame) throws(KubernetesError) -> Event {
        let bytes = Array(frame.unmaskedData.readableBytesView)
        switch frame.opcode {
        case .ping: return .pong(bytes)
        case .connectionClose: return .closed
        case .binary, .text:
            guard let first = bytes.first else { return .none }
            channel = frame.fin ? nil : first
            return try event(first, Array(bytes.dropFirst()))
        case .continuation:
            guard let channel else { throw .malformed("a message of a session has no beginning") }
            if frame.fin { self.channel = nil }
            return try event(channel, bytes)
        default: return .none
        }
    }

    private mutating func event(_ channel: UInt8, _ bytes: [UInt8]) throws(KubernetesError) -> Event {
        switch channel {
        // The first messages are empty: by them the server says that the channels are there.
        case _ where bytes.isEmpty: return .none
        case PodExec.standardOutput: return .output(.standardOutput(bytes))
        case PodExec.standardError: return .output(.standardError(bytes))
        case PodExec.status:
            status += bytes
            guard status.count <= PodExec.maximumStatus else { throw .malformed("a command's end is too long") }
            return .none
        default: return .none
        }
    }
}

extension KubernetesClient {
    private enum Upgrade: Sendable {
        case session(NIOAsyncChannel<WebSocketFrame, WebSocketFrame>, isV5: Bool)
        case refused(NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>)
    }

    /// Runs a command in a container and waits for its end (Kubernetes API reference, "Pod", "exec").
    /// - Parameters:
    ///   - container: nil for the pod's first one.
    ///   - limit: how long it may take in all. The command itself may go on then: a server can't be asked to end it.
    ///   - input: writes standard input, which ends when it returns; a server of before 1.30 knows no such end.
    ///   - output: called with what it prints, in order. It is kept out of logs and errors.
    /// - Returns: the exit status.
    /// - Throws: `KubernetesError`; it is `.unknown` where the command was begun and its end is not known.
    package func exec(
        _ command: [String], in pod: String, namespace: String, container: String? = nil,
        within limit: Duration = .seconds(60), input: (@Sendable (ExecInput) async throws -> Void)? = nil,
        output: @escaping @Sendable (ExecOutput) async throws -> Void
    ) async throws -> Int32 {
        var values: [(name: String, value: String?)] = command.map { (name: "command", value: $0) }
        values += [
            ("container", container), ("stdin", input == nil ? nil : "true"), ("stdout", "true"), ("stderr", "true"),
        ]
        let path = try Resource.pods.path(namespace: namespace, name: pod, subresource: "exec") + query(values)
        guard connection.proxy == nil else {
            throw KubernetesError.configuration("a command can't be run through a proxy")
        }
        try await waitForTurn(until: timing.monotonic() + limit.nanoseconds)
        let identity = try await credentials.value()
        do {
            return try await withTimeLimit(limit) { [self] in
                switch try await upgrade(path, identity) {
                case .refused(let channel):
                    let status = try await refusal(channel)
                    // The next command finds other credentials.
                    if status.code == 401 { _ = await credentials.refuse(identity.generation) }
                    throw KubernetesError.refused(status)
                case .session(let channel, let isV5):
                    return try await session(channel, isV5: isV5, input: input, output: output)
                }
            }
        } catch is TimeLimitExceeded {
            throw KubernetesError.unknown("a command in \(namespace)/\(pod) takes too long")
        }
    }

    private func upgrade(_ path: String, _ identity: Credentials.Current) async throws -> Upgrade {
        let endpoint = connection.endpoint
        var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: endpoint.path + path)
        head.headers = headers(identity)
        head.headers.add(name: "Sec-WebSocket-Protocol", value: PodExec.protocols.joined(separator: ", "))
        let request = head
        let name = connection.tlsServerName ?? endpoint.host
        let tls: NIOSSLContext?
        do { tls = try identity.tls.map { try NIOSSLContext(configuration: $0) } } catch {
            throw KubernetesError.configuration("the certificates can't be used")
        }
        do {
            let (channel, upgraded) = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connectTimeout(TimeAmount(limits.connect))
                .connect(host: endpoint.host, port: endpoint.port) { channel in
                    channel.keepingAlive().flatMapThrowing {
                        if let tls {
                            let isAddress = (try? SocketAddress(ipAddress: name, port: 0)) != nil
                            try channel.pipeline.syncOperations.addHandler(
                                NIOSSLClientHandler(context: tls, serverHostname: isAddress ? nil : name))
                        }
                        let upgraded = try channel.pipeline.syncOperations.configureUpgradableHTTPClientPipeline(
                            configuration: .init(upgradeConfiguration: Self.upgradeConfiguration(request)))
                        return (channel, upgraded)
                    }
                }
            return try await withTaskCancellationHandler {
                try await upgraded.get()
            } onCancel: {
                channel.close(promise: nil)
            }
        } catch {
            try Task.checkCancellation()
            if error is KubernetesError { throw error }
            let failure = ConnectionFailure(error, sent: true)
            switch failure {
            case .untrusted(let reason): throw KubernetesError.untrusted(reason)
            case .notSent(let reason): throw KubernetesError.unreachable(reason)
            case .lost, .tooLarge: throw KubernetesError.unknown(failure.reason)
            }
        }
    }

    private static func isBroken(_ error: any Error) -> Bool {
        error is ChannelError || error is IOError || error is NIOSSLError || error is NIOAsyncWriterError
            || error is NIOWebSocketError
    }

    private static func upgradeConfiguration(
        _ head: HTTPRequestHead
    ) -> NIOTypedHTTPClientUpgradeConfiguration<Upgrade> {
        let upgrader = NIOTypedWebSocketClientUpgrader<Upgrade>(maxFrameSize: PodExec.maximumMessage) {
            channel, response in
            channel.eventLoop.makeCompletedFuture {
                let name = response.headers.first(name: "Sec-WebSocket-Protocol") ?? ""
                guard PodExec.protocols.contains(name) else {
                    throw KubernetesError.malformed("the server speaks none of \(PodExec.protocols)")
                }
                return .session(try NIOAsyncChannel(wrappingChannelSynchronously: channel), isV5: name.hasPrefix("v5"))
            }
        }
        return NIOTypedHTTPClientUpgradeConfiguration(upgradeRequestHead: head, upgraders: [upgrader]) { channel in
            channel.eventLoop.makeCompletedFuture {
                .refused(try NIOAsyncChannel(wrappingChannelSynchronously: channel))
            }
        }
    }

    /// Reads the answer of a server that does not begin a session.
    private func refusal(
        _ channel: NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>
    ) async throws -> APIStatus {
        try await channel.executeThenClose { inbound, _ in
            var (code, bytes): (Int, [UInt8]) = (0, [])
            reading: for try await part in inbound {
                switch part {
                case .head(let head): code = Int(head.status.code)
                case .body(let buffer):
                    bytes += buffer.readableBytesView
                    if bytes.count > 1 << 20 { break reading }
                case .end: break reading
                }
            }
            return APIStatus(try? JSONValue(parsing: bytes), code: code)
        }
    }

    private func session(
        _ channel: NIOAsyncChannel<WebSocketFrame, WebSocketFrame>, isV5: Bool,
        input: (@Sendable (ExecInput) async throws -> Void)?,
        output: @escaping @Sendable (ExecOutput) async throws -> Void
    ) async throws -> Int32 {
        let status: [UInt8]
        do {
            status = try await channel.executeThenClose { inbound, outbound in
                try await withThrowingTaskGroup(of: [UInt8]?.self) { group in
                    if let input {
                        group.addTask {
                            try await input(ExecInput(outbound: outbound))
                            if isV5 {
                                try await outbound.write(PodExec.frame(.binary, [PodExec.end, PodExec.standardInput]))
                            }
                            return nil
                        }
                    }
                    group.addTask {
                        var reader = PodExecReader()
                        for try await frame in inbound {
                            switch try reader.take(frame) {
                            case .output(let bytes): try await output(bytes)
                            case .pong(let bytes): try await outbound.write(PodExec.frame(.pong, bytes))
                            case .closed:
                                try? await outbound.write(PodExec.frame(.connectionClose, [0x03, 0xE8]))
                                return reader.statusBytes
                            case .none: break
                            }
                        }
                        try Task.checkCancellation()
                        return reader.statusBytes
                    }
                    defer { group.cancelAll() }
                    while let status = try await group.next() { if let status { return status } }
                    return []
                }
            }
        } catch let error where Self.isBroken(error) {
            try Task.checkCancellation()
            throw KubernetesError.unknown("a session with a container breaks off")
        }
        guard !status.isEmpty else { throw KubernetesError.unknown("a session with a container ends without a status") }
        return try PodExec.exitStatus(status)
    }
}
