import Foundation
import Identity
import Synchronization
import TestSupport
import Testing
import UnixSignals

@testable import HTTPServer

@Suite("Stopping", .timeLimit(.minutes(5)), .serialized)
struct DrainTests {
    private static func routes(_ path: String, uploads: Count = Count(), taken: Count = Count()) -> Routes {
        var routes = Routes()
        routes.get("/ok", access: .open) { _ in
            taken.add(1)
            return .text("ok")
        }
        routes.get("/blob", access: .open) { request in
            taken.add(1)
            let descriptor = open(path, O_RDONLY | O_CLOEXEC)
            return .file(
                ResponseFile(length: Int64(lseek(descriptor, 0, SEEK_END)), descriptor: descriptor) { _, _ in
                    []
                } close: {
                    close(descriptor)
                }, for: request, contentType: "application/octet-stream")
        }
        routes.put("/upload", access: .open) { request in
            uploads.add(1)
            return .text("\(try await request.body(maximum: 1 << 30).collect().count)")
        }
        return routes
    }

    @Test(
        "SIGTERM lets running transfers finish, closes idle connections and takes no new ones",
        arguments: [true, false])
    func finishes(isSecure: Bool) async throws {
        let directory = try TemporaryDirectory()
        let (path, content) = try directory.file("blob", bytes: 30 << 20)
        let uploads = Count()
        try await TestServer.run(Self.routes(path, uploads: uploads), signals: [.sigterm]) { server async throws in
            let authority = isSecure ? server.directory.path + "/tls/ca.pem" : nil
            let port = isSecure ? server.secure : server.plain
            try await RawClient.with(port: port, authority: authority) { idle in
                #expect(try await idle.request("GET", "/ok").text == "ok")
                try await RawClient.with(port: port, authority: authority) { upload in
                    try await upload.send("PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
                    try await RawClient.with(port: port, authority: authority, receiveBuffer: 65_536) { download in
                        try await download.send("GET /blob HTTP/1.1\r\nHost: a\r\n\r\n")
                        try await download.more()
                        #expect(try await eventually { server.server.openConnections == 3 && uploads.value == 1 })
                        kill(getpid(), SIGTERM)
                        #expect(try await eventually { server.server.isDraining })
                        #expect(try await idle.rest().isEmpty)
                        await #expect(throws: (any Error).self) {
                            try await RawClient.with(port: port) { try await $0.request("GET", "/ok") }
                        }
                        try await upload.send("world")
                        let answer = try await upload.answer()
                        #expect(answer.text == "10")
                        #expect(answer["connection"] == "close")
                        #expect(try await download.answer().body == content)
                    }
                }
            }
        }
    }

    /// A connection that waits in the listener's backlog when that closes is reset by the kernel, and one that is idle
    /// for `drainIdleTime` is closed: a request that arrives there was never taken, and its client sees the connection
    /// end before the first byte of an answer. Once a route has a request, all of its answer must come.
    @Test("Under load every request that was taken is answered in full")
    func underLoad() async throws {
        let directory = try TemporaryDirectory()
        let (path, content) = try directory.file("blob", bytes: 300_000)
        let (taken, answered) = (Count(), Count())
        try await TestServer.run(Self.routes(path, taken: taken)) { server async throws in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for worker in 0..<16 {
                    let (target, body) = worker % 2 == 0 ? ("/blob", content) : ("/ok", Array("ok".utf8))
                    group.addTask {
                        var goesOn = true
                        while goesOn {
                            // A refused connection is the end.
                            goesOn =
                                (try? await RawClient.with(port: server.plain) { client in
                                    try await Self.ask(client, target, body, answered)
                                }) ?? false
                        }
                    }
                }
                #expect(try await eventually { answered.value > 200 })
                await server.stop()
                try await group.waitForAll()
            }
        }
        #expect(taken.value == answered.value, "what the server took it answered")
    }

    /// Asks until the server closes.
    /// - Returns: whether it did after an answer that said so.
    private static func ask(
        _ client: RawClient, _ target: String, _ body: [UInt8], _ answered: Count
    ) async throws -> Bool {
        while true {
            let answer: RawClient.Answer
            let received = client.received
            do { answer = try await client.request("GET", target) } catch {
                #expect(client.received == received, "an answer was cut: \(error)")
                return false
            }
            #expect(answer.body == body)
            answered.add(1)
            if answer["connection"] == "close" { return true }
        }
    }

    @Test("A transfer that outlasts the grace time is cut")
    func grace() async throws {
        var limits = ServerLimits()
        limits.drainTime = .milliseconds(300)
        let directory = try TemporaryDirectory()
        let (path, content) = try directory.file("blob", bytes: 60 << 20)
        try await TestServer.run(Self.routes(path), limits: limits) { server async throws in
            try await RawClient.with(port: server.plain, receiveBuffer: 4096) { client async throws in
                try await client.send("GET /blob HTTP/1.1\r\nHost: a\r\n\r\n")
                try await client.more()
                await server.stop()
                #expect(try await eventually { server.server.openConnections == 0 })
                let received = (try? await client.rest())?.count ?? 0
                #expect(received < content.count)
            }
        }
    }
}
