import Foundation
import Logging
import NIOCore
import NIOHPACK
import NIOHTTP2
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing

@testable import HTTPServer
@testable import Identity
@testable import Logs

@Suite("Stopping with HTTP/2", .timeLimit(.minutes(5)), .serialized)
struct HTTP2DrainTests {
    private static func routes(uploads: Count = Count(), downloads: Count = Count()) -> Routes {
        var routes = Routes()
        routes.get("/ok", access: .open) { _ in .text("ok") }
        routes.get("/large", access: .open) { _ in
            downloads.add(1)
            return .bytes([UInt8](repeating: 7, count: 10 << 20), contentType: "x/y")
        }
        routes.put("/upload", access: .open) { request in
            uploads.add(1)
            return .text("\(try await request.body(maximum: 1 << 30).collect().count)")
        }
        return routes
    }

    @Test("A server that stops says goodbye, lets running streams finish, and closes idle connections")
    func finishes() async throws {
        let (uploads, downloads) = (Count(), Count())
        try await TestServer.run(Self.routes(uploads: uploads, downloads: downloads)) { server async throws in
            let authority = server.directory.path + "/tls/ca.pem"
            try await RawHTTP2.with(server) { idle async throws in
                try await idle.confirmSettings()
                try await idle.send(RawHTTP2.head(1, "GET", "/ok"))
                let answer = await idle.next { $0.isEnd && $0.stream == 1 }
                #expect(answer != nil)
                try await HTTP2Client.with(port: server.secure, authority: authority) { client async throws in
                    try await client.stream { inbound, outbound async throws in
                        try await outbound.write(
                            HTTP2Client.head("PUT", "/upload", ["content-length": "10"], isEnd: false))
                        try await outbound.write(HTTP2Client.data(Array("hello".utf8)))
                        #expect(try await eventually { uploads.value == 1 })
                        try await client.stream { download, start async throws in
                            try await start.write(HTTP2Client.head("GET", "/large"))
                            #expect(try await eventually { downloads.value == 1 })
                            await server.stop()
                            let frames = await idle.rest()
                            let goodbye = frames.first { $0.is(.goAway) }
                            #expect(goodbye?.errorCode == 0)
                            #expect(goodbye?.payload.prefix(4) == [0, 0, 0, 1])
                            await #expect(throws: (any Error).self) {
                                try await HTTP2Client.with(port: server.secure, authority: authority) {
                                    try await $0.request("GET", "/ok")
                                }
                            }
                            try await outbound.write(HTTP2Client.data(Array("world".utf8), isEnd: true))
                            #expect(try await HTTP2Client.answer(inbound).text == "10")
                            #expect(try await HTTP2Client.answer(download).body.count == 10 << 20)
                        }
                    }
                }
            }
        }
    }

    @Test("A stream that outlasts the grace time is cut")
    func grace() async throws {
        var limits = ServerLimits()
        limits.drainTime = .milliseconds(300)
        try await TestServer.run(Self.routes(), limits: limits) { server async throws in
            try await RawHTTP2.with(server) { raw async throws in
                try await raw.confirmSettings()
                try await raw.send(RawHTTP2.head(1, "GET", "/large"))
                _ = await raw.next { $0.is(.data) }
                await server.stop()
                #expect(try await eventually { server.server.openConnections == 0 })
            }
        }
    }

    @Test("Under load every stream that was taken is answered in full")
    func underLoad() async throws {
        let answered = Count()
        try await TestServer.run(Self.routes()) { server async throws in
            let authority = server.directory.path + "/tls/ca.pem"
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        try? await HTTP2Client.with(port: server.secure, authority: authority) { client async throws in
                            try await withThrowingTaskGroup(of: Void.self) { streams in
                                for _ in 0..<8 {
                                    streams.addTask { try await Self.ask(client, answered) }
                                }
                                try await streams.waitForAll()
                            }
                        }
                    }
                }
                #expect(try await eventually { answered.value > 400 })
                await server.stop()
                try await group.waitForAll()
            }
        }
    }

    /// Asks until there is no new stream; one that began to be answered must be answered to its end.
    private static func ask(_ client: HTTP2Client, _ answered: Count) async throws {
        while true {
            let wasTaken = Mutex(false)
            do {
                let body = [UInt8](repeating: 1, count: 20_000)
                let answer = try await client.stream { inbound, outbound async throws in
                    try await outbound.write(HTTP2Client.head("PUT", "/upload", isEnd: false))
                    try await outbound.write(HTTP2Client.data(body, isEnd: true))
                    var text: [UInt8] = []
                    for try await frame in inbound {
                        wasTaken.withLock { $0 = true }
                        if case .data(let content) = frame, case .byteBuffer(let buffer) = content.data {
                            text += buffer.readableBytesView
                            if content.endStream { break }
                        }
                    }
                    return text
                }
                guard !answer.isEmpty || wasTaken.withLock({ $0 }) else { return }
                #expect(String(decoding: answer, as: UTF8.self) == "20000")
                answered.add(1)
            } catch {
                #expect(!wasTaken.withLock { $0 }, "a stream was cut: \(error)")
                return
            }
        }
    }

    /// An asynchronous channel that is made and not run ends the process.
    @Test("A crowd of connections and streams does not bring the server down while it stops", arguments: [true, false])
    func crowd(isGraceful: Bool) async throws {
        for round in 0..<4 {
            let directory = try TemporaryDirectory()
            let authority = CertificateAuthority(directory: directory.path)
            try authority.prepare()
            var limits = ServerLimits()
            limits.drainTime = .milliseconds(500)
            let (addresses, listening) = AsyncStream.makeStream(of: Int.self)
            let sink = LogSink(maximum: 1 << 20) { _ in }
            let server = HTTPServer(
                listeners: [
                    Listener(
                        address: ListenAddress(host: "127.0.0.1", port: 0),
                        security: .tls(try authority.files.configuration()))
                ], limits: limits, memory: .memory(256 << 20), routes: Self.routes(), authenticator: FixedUsers(),
                accessLog: AccessLog(sink: sink), logger: Logger(label: "test")
            ) { listening.yield($0[0].address.port) }
            let group = ServiceGroup(
                configuration: .init(services: [.init(service: server)], logger: Logger(label: "test")))
            let answered = Count()
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                let running = Task { try? await group.run() }
                var iterator = addresses.makeAsyncIterator()
                let port = try #require(await iterator.next())
                for worker in 0..<16 {
                    tasks.addTask {
                        var isOver = false
                        while !isOver {
                            do {
                                try await HTTP2Client.with(port: port, authority: authority.authorityPath) {
                                    client async throws in
                                    try await withThrowingTaskGroup(of: Void.self) { streams in
                                        for _ in 0..<(worker % 4 + 1) {
                                            streams.addTask {
                                                for _ in 0..<(worker % 3 + 1) {
                                                    _ = try await client.request("GET", "/ok")
                                                    answered.add(1)
                                                }
                                            }
                                        }
                                        try await streams.waitForAll()
                                    }
                                }
                            } catch {
                                isOver = true
                            }
                        }
                    }
                }
                #expect(try await eventually { answered.value > 20 * (round + 1) })
                if isGraceful { await group.triggerGracefulShutdown() } else { running.cancel() }
                try await tasks.waitForAll()
                _ = await running.value
            }
            #expect(try await eventually { server.openConnections == 0 })
        }
    }
}
