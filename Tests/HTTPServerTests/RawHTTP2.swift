import NIOSSL
import TestSupport

@testable import HTTPServer

/// An HTTP/2 client that keeps no rule that a test does not make it keep: it sends frames and shows those that come.
struct RawHTTP2 {
    enum Kind: UInt8 {
        case data = 0
        case headers = 1
        case reset = 3
        case settings = 4
        case ping = 6
        case goAway = 7
        case windowUpdate = 8
        case continuation = 9
    }

    struct Frame: Sendable {
        let kind: UInt8
        let flags: UInt8
        let stream: Int
        let payload: [UInt8]

        func `is`(_ kind: Kind) -> Bool { self.kind == kind.rawValue }
        var isEnd: Bool { flags & 1 != 0 }
        /// Of a reset or goodbye.
        var errorCode: Int {
            let bytes = `is`(.goAway) ? payload.dropFirst(4).prefix(4) : payload.prefix(4)
            return bytes.reduce(0) { $0 << 8 | Int($1) }
        }
        /// Of a response whose status stands in HPACK's static table, or is written out.
        var status: Int? {
            guard `is`(.headers), let first = payload.first(where: { $0 & 0xE0 != 0x20 }) else { return nil }
            let known = [0x88: 200, 0x89: 204, 0x8A: 206, 0x8B: 304, 0x8C: 400, 0x8D: 404, 0x8E: 500]
            return known[Int(first)] ?? 0
        }
    }

    static let calm = 0xB

    let client: RawClient

    /// Connects and says hello.
    /// - Parameter window: how much the server may send on a stream, in bytes.
    static func with<Result: Sendable>(
        _ server: TestServer, window: Int = 65_535, _ body: (RawHTTP2) async throws -> Result
    ) async throws -> Result {
        try await RawClient.with(
            port: server.secure, authority: server.directory.path + "/tls/ca.pem", protocols: ["h2"]
        ) { client async throws in
            let raw = RawHTTP2(client: client)
            try await client.send(
                Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
                    + frame(.settings, [0, 4] + number(window, bytes: 4)))
            return try await body(raw)
        }
    }

    static func number(_ value: Int, bytes: Int) -> [UInt8] {
        (0..<bytes).reversed().map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }

    static func frame(_ kind: Kind, flags: UInt8 = 0, stream: Int = 0, _ payload: [UInt8] = []) -> [UInt8] {
        number(payload.count, bytes: 3) + [kind.rawValue, flags] + number(stream, bytes: 4) + payload
    }

    /// A field that no table is used for.
    static func field(_ name: String, _ value: String) -> [UInt8] {
        [0] + length(name.utf8.count) + Array(name.utf8) + length(value.utf8.count) + Array(value.utf8)
    }

    /// HPACK's integer with a prefix of 7 bits.
    private static func length(_ value: Int) -> [UInt8] {
        guard value >= 127 else { return [UInt8(value)] }
        var (bytes, rest): ([UInt8], Int) = ([127], value - 127)
        while rest >= 128 {
            bytes.append(UInt8(rest & 127 | 128))
            rest >>= 7
        }
        return bytes + [UInt8(rest)]
    }

    static func head(
        _ stream: Int, _ method: String, _ path: String, _ fields: [(String, String)] = [], isEnd: Bool = true
    ) -> [UInt8] {
        let all = [(":method", method), (":scheme", "https"), (":path", path), (":authority", "localhost")] + fields
        let block = all.flatMap { field($0.0, $0.1) }
        var frames: [UInt8] = []
        var rest = block[...]
        repeat {
            let part = Array(rest.prefix(16_000))
            rest = rest.dropFirst(16_000)
            let isFirst = frames.isEmpty
            let flags: UInt8 = (rest.isEmpty ? 4 : 0) | (isFirst && isEnd ? 1 : 0)
            frames += frame(isFirst ? .headers : .continuation, flags: flags, stream: stream, part)
        } while !rest.isEmpty
        return frames
    }

    func send(_ frames: [UInt8]...) async throws { try await client.send(frames.flatMap { $0 }) }

    /// The next frame; nil once the server has closed, however that was.
    func next() async -> Frame? {
        guard let head = try? await client.take(9) else { return nil }
        let count = head[..<3].reduce(0) { $0 << 8 | Int($1) }
        guard let payload = try? await client.take(count) else { return nil }
        return Frame(
            kind: head[3], flags: head[4], stream: head[5...].reduce(0) { $0 << 8 | Int($1) }, payload: payload)
    }

    /// The next frame that a test is after; nil once the server has closed.
    func next(where isWanted: (Frame) -> Bool) async -> Frame? {
        while let frame = await next() {
            if isWanted(frame) { return frame }
        }
        return nil
    }

    /// Everything until the server closes.
    func rest() async -> [Frame] {
        var frames: [Frame] = []
        while let frame = await next() { frames.append(frame) }
        return frames
    }

    func confirmSettings() async throws { try await send(Self.frame(.settings, flags: 1)) }
}
