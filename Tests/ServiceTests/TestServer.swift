import Foundation
import Logging
import NIOCore
import NIOSSL
import ServiceLifecycle
import Synchronization
import UnixSignals

@testable import Service

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
        tls: ServerTLS? = nil, signals: [UnixSignal] = [],
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
            ], limits: limits, routes: routes, authenticator: authenticator ?? FixedUsers(),
            accessLog: AccessLog(sink: sink), logger: logger, now: now
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

extension Authenticator {
    func authenticate(_ authorization: String) async throws -> Principal? {
        try await authenticate(authorization, from: .unknown)
    }
}

/// `Authorization` for a user and password.
func basic(_ user: String, _ password: String = "secret") -> String {
    "Basic " + Data("\(user):\(password)".utf8).base64EncodedString()
}

/// A number that several tasks count up.
final class Count: Sendable {
    private let count = Atomic(0)
    var value: Int { count.load(ordering: .relaxed) }
    func add(_ more: Int) { count.wrappingAdd(more, ordering: .relaxed) }
}

final class LogLines: Sendable {
    private let text = Mutex("")

    func add(_ bytes: [UInt8]) { text.withLock { $0 += String(decoding: bytes, as: UTF8.self) } }

    var lines: [String] { text.withLock { $0.split(separator: "\n").map(String.init) } }
    var all: String { text.withLock { $0 } }
}

/// A directory that goes with the test.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "/service-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Makes a file of bytes that repeat only after a prime number of them, so that no two places of it look alike.
    func file(_ name: String, bytes: Int) throws -> (path: String, content: [UInt8]) {
        let block = (0..<65_537).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 7 ^ $0) }
        var content: [UInt8] = []
        content.reserveCapacity(bytes + block.count)
        while content.count < bytes { content.append(contentsOf: block) }
        content.removeLast(content.count - bytes)
        let path = path + "/" + name
        try Data(content).write(to: URL(fileURLWithPath: path))
        return (path, content)
    }
}

/// Waits until something is so; a minute at most.
func eventually(_ condition: @Sendable () async throws -> Bool) async throws -> Bool {
    let deadline = ContinuousClock.now + .seconds(60)
    while ContinuousClock.now < deadline {
        if try await condition() { return true }
        try await Task.sleep(for: .milliseconds(5))
    }
    return false
}
