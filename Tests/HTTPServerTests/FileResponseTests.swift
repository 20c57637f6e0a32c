import Foundation
import HTTPTypes
import Identity
import Synchronization
import TestSupport
import Testing

@testable import HTTPServer

@Suite("Files as bodies", .timeLimit(.minutes(5)))
struct FileResponseTests {
    /// Counts how often files were opened and closed.
    private final class Files: Sendable {
        let open = Count()
        let closed = Count()

        func file(_ path: String, length: Int64? = nil) -> ResponseFile {
            let descriptor = Foundation.open(path, O_RDONLY | O_CLOEXEC)
            open.add(1)
            let size = lseek(descriptor, 0, SEEK_END)
            return ResponseFile(length: length ?? Int64(size), descriptor: descriptor) { _, _ in
                Issue.record("a file with a descriptor is not read by its closure")
                return []
            } close: {
                Foundation.close(descriptor)
                self.closed.add(1)
            }
        }
    }

    /// A descriptor of this process leads to a path.
    private static func isOpen(_ path: String) -> Bool {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
        return all.contains {
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")) == path
        }
    }

    private func serve(
        bytes: Int, limits: ServerLimits = ServerLimits(), lie: Int64? = nil,
        _ body: @escaping @Sendable (TestServer, [UInt8]) async throws -> Void
    ) async throws {
        let directory = try TemporaryDirectory()
        let (path, content) = try directory.file("blob", bytes: bytes)
        let files = Files()
        var routes = Routes()
        routes.get("/blob", access: .open) { request in
            .file(
                files.file(path, length: lie), for: request, contentType: "application/octet-stream",
                tag: EntityTag("sha256:1"), headers: [.cacheControl: "immutable"])
        }
        routes.get("/loop", access: .open, execution: .eventLoop) { request in
            .file(files.file(path), for: request, contentType: "application/octet-stream")
        }
        routes.get("/closure", access: .open) { request in
            .file(
                ResponseFile(length: Int64(content.count), descriptor: nil) { offset, maximum in
                    Array(content[Int(offset)...].prefix(min(maximum, 100_000)))
                } close: {
                    files.closed.add(1)
                }, for: request, contentType: "application/octet-stream")
        }
        try await TestServer.run(routes, limits: limits) { server async throws in
            try await body(server, content)
            #expect(try await eventually { !Self.isOpen(path) }, "a descriptor was left open")
        }
        #expect(files.open.value <= files.closed.value)
    }

    @Test("Plain HTTP sends files by sendfile, byte for byte")
    func plain() async throws {
        try await serve(bytes: 3_000_000) { server, content async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                for path in ["/blob", "/loop"] {
                    let answer = try await client.request("GET", path)
                    #expect(answer.status == 200)
                    #expect(answer["content-length"] == "3000000")
                    #expect(answer["accept-ranges"] == "bytes")
                    #expect(answer.body == content)
                }
            }
            #expect(server.server.statistics.sentBySystem == 6_000_000)
            #expect(server.server.statistics.sentByReading == 0)
        }
    }

    @Test("TLS sends the same bytes without sendfile")
    func secure() async throws {
        try await serve(bytes: 3_000_000) { server, content async throws in
            let authority = server.directory.path + "/tls/ca.pem"
            try await RawClient.with(port: server.secure, authority: authority) { client async throws in
                for path in ["/blob", "/loop"] {
                    #expect(try await client.request("GET", path).body == content)
                }
                let part = try await client.request("GET", "/blob", ["Range": "bytes=1000000-1999999"])
                #expect(part.status == 206)
                #expect(part.body == Array(content[1_000_000..<2_000_000]))
            }
            #expect(server.server.statistics.sentBySystem == 0)
            #expect(server.server.statistics.sentByReading == 7_000_000)
        }
    }

    @Test("A body without a descriptor is read piece by piece")
    func closure() async throws {
        try await serve(bytes: 1_000_000) { server, content async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                #expect(try await client.request("GET", "/closure").body == content)
                let part = try await client.request("GET", "/closure", ["Range": "bytes=-10"])
                #expect(part.body == Array(content.suffix(10)))
            }
        }
    }

    @Test("Small files and empty ones arrive whole", arguments: [0, 1, 16_384, 16_385])
    func small(bytes: Int) async throws {
        try await serve(bytes: bytes) { server, content async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                let answer = try await client.request("GET", "/blob")
                #expect(answer.status == 200)
                #expect(answer["content-length"] == "\(bytes)")
                #expect(answer.body == content)
            }
        }
    }

    @Test("Ranges are answered exactly")
    func ranges() async throws {
        try await serve(bytes: 100_000) { server, content async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                for (range, slice) in [("0-0", 0..<1), ("50000-", 50_000..<100_000), ("-5", 99_995..<100_000)] {
                    let answer = try await client.request("GET", "/blob", ["Range": "bytes=\(range)"])
                    #expect(answer.status == 206)
                    #expect(answer.body == Array(content[slice]))
                    #expect(answer["content-length"] == "\(slice.count)")
                    #expect(answer["content-range"] == "bytes \(slice.lowerBound)-\(slice.upperBound - 1)/100000")
                    #expect(answer["cache-control"] == "immutable")
                }
                let beyond = try await client.request("GET", "/blob", ["Range": "bytes=100000-"])
                #expect(beyond.status == 416)
                #expect(beyond["content-range"] == "bytes */100000")
                #expect(beyond.body.isEmpty)
                let other = ["Range": "bytes=0-9", "If-Range": "\"sha256:2\""]
                #expect(try await client.request("GET", "/blob", other).status == 200)
                let same = ["Range": "bytes=0-9", "If-Range": "\"sha256:1\""]
                #expect(try await client.request("GET", "/blob", same).status == 206)
                let head = try await client.request("HEAD", "/blob", ["Range": "bytes=0-9"])
                #expect(head.status == 200)
                #expect(head["content-length"] == "100000")
            }
        }
    }

    /// What multipart ranges have: for each part its Content-Range and its bytes.
    private func parts(_ body: [UInt8], _ type: String?) throws -> [(range: String, bytes: [UInt8])] {
        let boundary = try #require(
            type?.firstRange(of: "multipart/byteranges; boundary=").map { type?[$0.upperBound...] })
        let separator = Array("\r\n--\(boundary ?? "")".utf8)
        var pieces = body.split(separator: separator, maxSplits: 1000, omittingEmptySubsequences: false)
        #expect(pieces.first?.isEmpty == true && pieces.last.map(Array.init) == Array("--\r\n".utf8))
        pieces = pieces.dropFirst().dropLast()
        return try pieces.map { piece in
            let end = try #require(piece.firstRange(of: Array("\r\n\r\n".utf8)))
            let lines = String(decoding: piece[..<end.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
            #expect(lines[..<2] == ["", "Content-Type: application/octet-stream"] && lines.count == 3)
            let prefix = "Content-Range: bytes "
            try #require(lines[2].hasPrefix(prefix))
            return (String(lines[2].dropFirst(prefix.count)), Array(piece[end.upperBound...]))
        }
    }

    /// Ranges as a client asks for them, with what it gets of 3,000,000 bytes.
    private static let several: [(String, [Range<Int>])] = [
        ("0-0,10-19", [0..<1, 10..<20]),
        ("2000000-2999999,0-99999,-1", [2_000_000..<3_000_000, 0..<100_000, 2_999_999..<3_000_000]),
        ("0-1499999,1000000-2499999", [0..<1_500_000, 1_000_000..<2_500_000]),
        ("0-9,3000000-,5-16388", [0..<10, 5..<16_389]),
    ]

    private func expectSeveral(_ content: [UInt8], _ ask: (String) async throws -> RawClient.Answer) async throws {
        for (range, slices) in Self.several {
            let answer = try await ask("bytes=\(range)")
            #expect(answer.status == 206 && answer["content-range"] == nil)
            #expect(answer["content-length"] == String(answer.body.count))
            #expect(answer["etag"] == "\"sha256:1\"" && answer["cache-control"] == "immutable")
            let parts = try parts(answer.body, answer["content-type"])
            #expect(parts.map(\.range) == slices.map { "\($0.lowerBound)-\($0.upperBound - 1)/3000000" })
            #expect(parts.map(\.bytes) == slices.map { Array(content[$0]) })
        }
    }

    @Test("Several ranges are sent as they were asked for, large ones by sendfile")
    func severalPlain() async throws {
        try await serve(bytes: 3_000_000) { server, content async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                try await expectSeveral(content) { try await client.request("GET", "/blob", ["Range": $0]) }
                #expect(server.server.statistics.sentBySystem == 4_100_000)
                #expect(server.server.statistics.sentByReading == 0)
                let closure = try await client.request("GET", "/closure", ["Range": "bytes=0-9,1000000-2000000"])
                #expect(
                    try parts(closure.body, closure["content-type"]).map(\.bytes) == [
                        Array(content[..<10]), Array(content[1_000_000...2_000_000]),
                    ])
                let head = try await client.request("HEAD", "/blob", ["Range": "bytes=0-9,20-29"])
                #expect(head.status == 200 && head["content-length"] == "3000000" && head.body.isEmpty)
                let known = ["Range": "bytes=0-9,20-29", "If-None-Match": "\"sha256:1\""]
                #expect(try await client.request("GET", "/blob", known).status == 304)
                let other = ["Range": "bytes=0-9,20-29", "If-Range": "\"sha256:2\""]
                #expect(try await client.request("GET", "/blob", other).body == content)
                let none = try await client.request("GET", "/blob", ["Range": "bytes=3000000-,4000000-"])
                #expect(none.status == 416 && none["content-range"] == "bytes */3000000")
                let many = (0...200).map { "\($0)-\($0)" }.joined(separator: ",")
                let whole = try await client.request("GET", "/blob", ["Range": "bytes=\(many)"])
                #expect(whole.status == 200 && whole.body == content)
            }
        }
    }

    @Test("Several ranges over TLS are the same")
    func severalSecure() async throws {
        try await serve(bytes: 3_000_000) { server, content async throws in
            let authority = server.directory.path + "/tls/ca.pem"
            try await RawClient.with(port: server.secure, authority: authority) { client async throws in
                try await expectSeveral(content) { try await client.request("GET", "/blob", ["Range": $0]) }
            }
        }
    }

    @Test(
        "If-None-Match is answered with 304 and without a body",
        arguments: [
            "\"sha256:1\"", "*", "\"x\", \"sha256:1\"", "W/\"sha256:1\"",
        ])
    func notModified(tags: String) async throws {
        try await serve(bytes: 1000) { server, _ async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                let answer = try await client.request("GET", "/blob", ["If-None-Match": tags])
                #expect(answer.status == 304)
                #expect(answer["etag"] == "\"sha256:1\"")
                #expect(try await client.request("GET", "/blob", ["If-None-Match": "\"y\""]).status == 200)
            }
        }
    }

    @Test("Clients that break off leave nothing open", arguments: [true, false])
    func reset(isSecure: Bool) async throws {
        try await serve(bytes: 64 << 20) { server, content async throws in
            for _ in 0..<5 {
                try? await RawClient.with(
                    port: isSecure ? server.secure : server.plain,
                    authority: isSecure ? server.directory.path + "/tls/ca.pem" : nil, receiveBuffer: 4096
                ) { client async throws in
                    try await client.send("GET /blob HTTP/1.1\r\nHost: a\r\n\r\n")
                    try await client.more()
                    try await client.reset()
                }
            }
            #expect(try await eventually { server.server.openConnections == 0 })
            #expect(try await eventually { server.log.all.contains("\"cut\":1") })
        }
    }

    @Test("A client that stops reading is cut, and others are served meanwhile", arguments: [true, false])
    func slowReader(isSecure: Bool) async throws {
        var limits = ServerLimits()
        limits.progressTime = .milliseconds(300)
        try await serve(bytes: 64 << 20, limits: limits) { server, content async throws in
            let authority = isSecure ? server.directory.path + "/tls/ca.pem" : nil
            let port = isSecure ? server.secure : server.plain
            try await RawClient.with(port: port, authority: authority, receiveBuffer: 4096) { client async throws in
                try await client.send("GET /blob HTTP/1.1\r\nHost: a\r\n\r\n")
                try await client.more()
                let other = try await RawClient.with(port: port, authority: authority) { client async throws in
                    try await client.request("GET", "/blob", ["Range": "bytes=0-99999"])
                }
                #expect(other.body == Array(content[..<100_000]))
                #expect(try await eventually { server.server.openConnections == 0 })
            }
        }
    }

    @Test("A file that is shorter than it should be ends the connection and not the server")
    func shortFile() async throws {
        try await serve(bytes: 100_000, lie: 200_000) { server, content async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                try await client.send("GET /blob HTTP/1.1\r\nHost: a\r\n\r\n")
                #expect(try await client.rest().count < 200_000)
            }
            try await RawClient.with(port: server.plain) { client async throws in
                #expect(try await client.request("GET", "/loop").body == content)
            }
        }
    }
}
