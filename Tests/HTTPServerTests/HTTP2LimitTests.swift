import Foundation
import NIOCore
import NIOHPACK
import NIOHTTP2
import TestSupport
import Testing

@testable import HTTPServer
@testable import Identity

@Suite("HTTP/2 clients that take their time or too much", .timeLimit(.minutes(5)), .serialized)
struct HTTP2LimitTests {
    /// Requests that wait until the test lets them go on.
    private final class Gate: Sendable {
        let waiting = Count()
        let isOpen = Count()

        func wait() async throws {
            waiting.add(1)
            _ = try await eventually { isOpen.value > 0 }
        }
    }

    private static func routes(gate: Gate = Gate()) -> Routes {
        var routes = Routes()
        routes.get("/ok", access: .open) { _ in .text("ok") }
        routes.get("/large", access: .open) { _ in .bytes([UInt8](repeating: 7, count: 8 << 20), contentType: "x/y") }
        routes.get("/wait", access: .open) { _ in
            try await gate.wait()
            return .text("done")
        }
        routes.put("/upload", access: .open) { request in
            .text("\(try await request.body(maximum: 1 << 30).collect().count)")
        }
        return routes
    }

    private static var hasty: ServerLimits {
        var limits = ServerLimits()
        limits.progressTime = .milliseconds(300)
        return limits
    }

    /// Another connection is served while a test's own is not.
    private static func isServed(_ server: TestServer) async throws -> Bool {
        try await HTTP2Client.with(port: server.secure, authority: server.directory.path + "/tls/ca.pem") {
            try await $0.request("GET", "/ok").text == "ok"
        }
    }

    @Test("Streams whose client opens no window are reset; others of the connection are served", arguments: [0, 100])
    func slowReaders(window: Int) async throws {
        try await TestServer.run(Self.routes(), limits: Self.hasty) { server async throws in
            try await RawHTTP2.with(server, window: window) { raw async throws in
                try await raw.confirmSettings()
                // Both what does not fit into buffers and what does.
                try await raw.send(RawHTTP2.head(1, "GET", "/large"), RawHTTP2.head(3, "GET", "/ok"))
                var open: Set = window == 0 ? [1, 3] : [1]
                while !open.isEmpty, let frame = await raw.next() {
                    if frame.is(.reset) { open.remove(frame.stream) }
                    #expect(!frame.is(.goAway))
                }
                #expect(open.isEmpty)
                try await raw.send(RawHTTP2.head(5, "HEAD", "/ok"))
                let answer = await raw.next { $0.stream == 5 }
                #expect(answer?.status == 200)
                #expect(answer?.isEnd == true)
            }
        }
    }

    @Test("A client that reads slowly, but does, gets all of it")
    func slowButReading() async throws {
        var limits = ServerLimits()
        // So long that a loaded machine keeps up, and shorter than the whole.
        limits.progressTime = .seconds(2)
        try await TestServer.run(Self.routes(), limits: limits) { server async throws in
            try await RawHTTP2.with(server, window: 0) { raw async throws in
                try await raw.confirmSettings()
                try await raw.send(RawHTTP2.head(1, "GET", "/large"))
                var received = 0
                let step = 20_000
                for _ in 0..<12 {
                    for stream in [0, 1] {
                        try await raw.send(
                            RawHTTP2.frame(.windowUpdate, stream: stream, RawHTTP2.number(step, bytes: 4)))
                    }
                    var missing = step
                    while missing > 0, let frame = await raw.next(where: { $0.is(.data) || $0.is(.reset) }) {
                        try #require(frame.is(.data))
                        missing -= frame.payload.count
                    }
                    received += step - missing
                    try await Task.sleep(for: .milliseconds(250))
                }
                #expect(received == 12 * step)
            }
        }
    }

    @Test("A body that stops coming is 408, and the connection goes on")
    func slowSender() async throws {
        try await TestServer.run(Self.routes(), limits: Self.hasty) { server async throws in
            try await HTTP2Client.with(port: server.secure, authority: server.directory.path + "/tls/ca.pem") {
                client async throws in
                let answer = try await client.stream { inbound, outbound async throws in
                    try await outbound.write(
                        HTTP2Client.head("PUT", "/upload", ["content-length": "1000000"], isEnd: false))
                    try await outbound.write(HTTP2Client.data([1, 2, 3]))
                    return try await HTTP2Client.answer(inbound)
                }
                #expect(answer.status == 408)
                #expect(try await client.request("GET", "/ok").text == "ok")
            }
        }
    }

    @Test(
        "Connections that begin with nothing, or go idle, are closed", arguments: ["tls", "hello", "served", "pings"])
    func idle(kind: String) async throws {
        var limits = ServerLimits()
        limits.headTime = .seconds(2)
        limits.idleTime = .milliseconds(500)
        limits.lingerMaximum = .seconds(1)
        limits.lingerTime = .seconds(1)
        try await TestServer.run(Self.routes(), limits: limits) { server async throws in
            if kind == "tls" {
                let authority = server.directory.path + "/tls/ca.pem"
                try await RawClient.with(port: server.secure, authority: authority, protocols: ["h2"]) {
                    _ = try? await $0.rest()
                }
                return
            }
            try await RawHTTP2.with(server) { raw async throws in
                try await raw.confirmSettings()
                if kind != "hello" {
                    try await raw.send(RawHTTP2.head(1, "GET", "/ok"))
                    let answer = await raw.next { $0.stream == 1 && $0.isEnd }
                    #expect(answer?.payload == Array("ok".utf8))
                }
                if kind == "pings" {
                    // They don't keep it open.
                    let isOver = try await eventually {
                        try? await raw.send(RawHTTP2.frame(.ping, [UInt8](repeating: 1, count: 8)))
                        try await Task.sleep(for: .milliseconds(100))
                        return server.server.openConnections == 0
                    }
                    #expect(isOver)
                }
                let end = await raw.next { $0.is(.goAway) }
                #expect(kind == "pings" || end?.errorCode == 0)
                _ = await raw.rest()
                #expect(try await eventually { server.server.openConnections == 0 })
            }
        }
    }

    @Test("Rapid resets end their connection with 'enhance your calm'; another connection is served meanwhile")
    func rapidReset() async throws {
        let gate = Gate()
        try await TestServer.run(Self.routes(gate: gate)) { server async throws in
            try await RawHTTP2.with(server) { raw async throws in
                try await raw.confirmSettings()
                // More than enough, in pieces, while the other connection wants to be served.
                async let isServed = Self.isServed(server)
                for piece in 0..<100 {
                    let frames = (0..<20).flatMap { number in
                        let stream = 2 * (20 * piece + number) + 1
                        return RawHTTP2.head(stream, "GET", "/wait")
                            + RawHTTP2.frame(.reset, stream: stream, RawHTTP2.number(8, bytes: 4))
                    }
                    try? await raw.send(frames)
                }
                #expect(try await isServed)
                let end = await raw.next { $0.is(.goAway) }
                #expect(end == nil || end?.errorCode == RawHTTP2.calm)
                _ = await raw.rest()
            }
            #expect(try await eventually { server.server.openConnections == 0 })
            #expect(gate.waiting.value <= 201)
            #expect(try await Self.isServed(server))
            gate.isOpen.add(1)
        }
    }

    @Test(
        "Floods of frames that cost the client nothing end their connection",
        arguments: ["ping", "settings", "empty data", "continuations", "header bomb", "window overflow"])
    func floods(kind: String) async throws {
        try await TestServer.run(Self.routes()) { server async throws in
            try await RawHTTP2.with(server) { raw async throws in
                try await raw.confirmSettings()
                if kind != "continuations" {
                    try await raw.send(RawHTTP2.head(1, "PUT", "/upload", isEnd: false))
                } else {
                    try await raw.send(RawHTTP2.frame(.headers, stream: 1, RawHTTP2.field("a", "b")))
                }
                let large = (0..<70).map { ("x-\($0)", String(repeating: "y", count: 1000)) }
                let frames: [UInt8] =
                    switch kind {
                    case "ping": RawHTTP2.frame(.ping, [UInt8](repeating: 1, count: 8))
                    case "settings": RawHTTP2.frame(.settings)
                    case "empty data": RawHTTP2.frame(.data, stream: 1)
                    case "continuations": RawHTTP2.frame(.continuation, stream: 1, RawHTTP2.field("a", "b"))
                    case "header bomb": RawHTTP2.head(3, "GET", "/ok", large)
                    default: RawHTTP2.frame(.windowUpdate, RawHTTP2.number(Int(Int32.max), bytes: 4))
                    }
                let piece = (0..<20).flatMap { _ in frames }
                for _ in 0..<20 { try? await raw.send(piece) }
                #expect(try await Self.isServed(server))
                // Long before it would be closed for being idle.
                #expect(try await eventually { server.server.openConnections == 0 })
                let end = await raw.next { $0.is(.goAway) }
                #expect(end == nil || end?.errorCode != 0)
            }
        }
    }

    @Test("A client that never confirms the bound on streams is cut beyond twice as many")
    func unconfirmed() async throws {
        let gate = Gate()
        var limits = ServerLimits()
        limits.streams = 10
        try await TestServer.run(Self.routes(gate: gate), limits: limits) { server async throws in
            try await RawHTTP2.with(server) { raw async throws in
                for number in 0..<30 {
                    try? await raw.send(RawHTTP2.head(2 * number + 1, "GET", "/wait"))
                }
                let end = await raw.next { $0.is(.goAway) }
                #expect(end == nil || end?.errorCode == RawHTTP2.calm)
                _ = await raw.rest()
            }
            #expect(try await eventually { server.server.openConnections == 0 })
            #expect(gate.waiting.value <= 20)
            gate.isOpen.add(1)
        }
    }

    @Test("Streams beyond the bound that the client has confirmed end the connection; as many as it are served")
    func bound() async throws {
        let gate = Gate()
        var limits = ServerLimits()
        limits.streams = 10
        try await TestServer.run(Self.routes(gate: gate), limits: limits) { server async throws in
            try await RawHTTP2.with(server) { raw async throws in
                try await raw.confirmSettings()
                for number in 0..<10 { try await raw.send(RawHTTP2.head(2 * number + 1, "GET", "/wait")) }
                #expect(try await eventually { gate.waiting.value == 10 })
                gate.isOpen.add(1)
                var ended = 0
                while ended < 10, let frame = await raw.next() {
                    if frame.is(.data), frame.isEnd { ended += 1 }
                }
                #expect(ended == 10)
            }
        }
    }
}
