import Logging
import Metrics
import NIOCore
import NIOSSL
import ServiceLifecycle
import TestSupport
import UnixSignals

@testable import HTTPServer
@testable import Identity
@testable import Logs

/// A server on loopback, plain and with TLS, that lives as long as a closure.
struct TestServer: Sendable {
    let plain: Int
    let secure: Int
    let directory: TemporaryDirectory
    let log: LogLines
    let server: HTTPServer
    let group: ServiceGroup

    /// Asks the server to stop, as SIGTERM does.
    func stop() async { await group.triggerGracefulShutdown() }

    static func run(
        _ routes: Routes, limits: ServerLimits = ServerLimits(), authenticator: (any Authenticating)? = nil,
        signer: URLSigner? = nil, tls: ServerTLS? = nil, memory: Budget = .memory(256 << 20),
        signals: [UnixSignal] = [],
        descriptors: Int = 4096, metrics: any MetricsFactory = NOOPMetricsHandler.instance,
        now: @escaping @Sendable () -> NIODeadline = { .now() },
        _ body: @escaping @Sendable (TestServer) async throws -> Void
    ) async throws {
        let directory = try TemporaryDirectory()
        let authority = CertificateAuthority(directory: directory.path + "/tls")
        try authority.prepare()
        let log = LogLines()
        let sink = LogSink(maximum: 1 << 20, write: log.add)
        let logger = Logger(label: "test") { JSONLogHandler(label: $0, level: .debug, sink: sink) }
        let (addresses, listening) = AsyncStream.makeStream(of: [BoundAddress].self)
        let address = ListenAddress(host: "127.0.0.1", port: 0)
        let server = HTTPServer(
            listeners: [
                Listener(address: address, security: .plain),
                Listener(
                    address: address,
                    security: try tls.map { .reloading($0) } ?? .tls(try authority.files.configuration())),
            ], limits: limits, memory: memory, routes: routes, authenticator: authenticator ?? FixedUsers(),
            signer: signer, accessLog: AccessLog(sink: sink), logger: logger, descriptors: descriptors,
            metrics: metrics, now: now
        ) { listening.yield($0) }
        let group = ServiceGroup(
            configuration: .init(
                services: [.init(service: server, successTerminationBehavior: .gracefullyShutdownGroup)],
                gracefulShutdownSignals: signals, logger: logger))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask {
                defer { listening.finish() }
                try await group.run()
            }
            var iterator = addresses.makeAsyncIterator()
            if let bound = await iterator.next() {
                let test = TestServer(
                    plain: bound[0].address.port, secure: bound[1].address.port, directory: directory, log: log,
                    server: server, group: group)
                try await body(test)
                await group.triggerGracefulShutdown()
            }
            try await tasks.waitForAll()
        }
        sink.flush()
    }
}

/// Users of tests: `NAME:secret` is good for every role's name.
struct FixedUsers: Authenticating {
    func known(_ authorization: String) -> Principal? {
        guard let credentials = BasicCredentials(authorization), credentials.password == "secret",
            let role = Role(rawValue: credentials.user)
        else { return nil }
        return Principal(name: credentials.user, roles: [role])
    }

    func authenticate(_ authorization: String, from address: ClientAddress) async throws -> Principal? {
        known(authorization)
    }
}
