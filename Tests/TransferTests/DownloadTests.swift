import Foundation
import OCI
import Synchronization
import TestSupport
import Testing

@testable import Transfer

/// Remembers how long a client should have waited, and waits for nothing.
final class RecordedPauses: Sendable {
    private let durations = Mutex<[Duration]>([])
    var all: [Duration] { durations.withLock { $0 } }
    func add(_ duration: Duration) { durations.withLock { $0.append(duration) } }
}

extension TaskClient {
    /// A client that may reach test servers.
    static func testing(
        hosts: [String] = ["127.0.0.1"], pauses: RecordedPauses = RecordedPauses(), silence: Duration = .seconds(30),
        whole: Duration = .seconds(60)
    ) throws -> TaskClient {
        var times = Times()
        times.silence = silence
        times.whole = whole
        let allowed = Set(hosts.compactMap { DestinationRules.AllowedHost($0) })
        return TaskClient(
            rules: DestinationRules(allowedHosts: allowed, allowsPlain: true), trust: try TaskTrust(), times: times,
            pause: { pauses.add($0) })
    }
}

@Suite("Downloads of a task")
struct DownloadTests {
    static let content = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 7 ^ $0) }
    private static var checksum: ExpectedChecksum {
        get throws { try ExpectedChecksum(algorithm: "sha256", value: Digest.of(content).hex) }
    }

    /// Downloads `/file` and says what is there afterwards.
    private static func download(
        checksum: ExpectedChecksum? = nil, limit: Int64 = 1 << 20, client: TaskClient? = nil,
        _ handler: @escaping ScriptedServer.Handler,
        _ check: (Result<DownloadedFile, any Error>, [UInt8]?, [ScriptedServer.Request]) throws -> Void
    ) async throws {
        try await ScriptedServer.with(handler) { server in
            try await withTemporaryDirectory { directory in
                let client = try client ?? .testing()
                let result: Result<DownloadedFile, any Error>
                do {
                    let url = try TransferURL("http://u:secret@\(server.address)/file?token=secret")
                    result = .success(
                        try await client.download(url, to: directory + "/file", checksum: checksum, limit: limit))
                } catch {
                    result = .failure(error)
                    #expect(!"\(error)".contains("secret"))
                }
                let names = try FileManager.default.contentsOfDirectory(atPath: directory)
                #expect(names.allSatisfy { $0 == "file" }, "nothing else is left: \(names)")
                let bytes = FileManager.default.contents(atPath: directory + "/file").map { Array($0) }
                try check(result, bytes, server.requests)
            }
        }
    }

    private static func kind(_ result: Result<DownloadedFile, any Error>) -> TransferFailure.Kind? {
        if case .failure(let error as TransferFailure) = result { error.kind } else { nil }
    }

    /// How a server serves the second half after it has cut the first answer in the middle.
    enum Second: String, CaseIterable {
        case range, ignoresRange, otherFile, otherRange, withoutTag
    }

    @Test("a download goes on after a cut, or starts again, and is whole", arguments: Second.allCases)
    func cut(second: Second) async throws {
        let other = Self.content.reversed() as [UInt8]
        try await Self.download { request, number, connection in
            let tag = second == .withoutTag ? [] : ["ETag: \"1\""]
            if number == 0 {
                connection.head(200, ["Content-Length: \(Self.content.count)"] + tag)
                connection.send(Array(Self.content[..<100_000]))
                return
            }
            let range = request.header("Range").flatMap { Int($0.dropFirst("bytes=".count).dropLast()) }
            switch (second, range) {
            case (.range, let start?):
                connection.head(
                    206,
                    [
                        "Content-Range: bytes \(start)-\(Self.content.count - 1)/\(Self.content.count)",
                        "Content-Length: \(Self.content.count - start)",
                    ] + tag)
                connection.send(Array(Self.content[start...]))
            case (.otherRange, _?):
                connection.head(206, ["Content-Range: bytes 5-9/300000", "Content-Length: 5"])
                connection.send(Array(Self.content[5..<10]))
            case (.otherFile, _): connection.answer(200, ["ETag: \"2\""], other)
            default: connection.answer(200, tag, Self.content)
            }
        } _: { result, bytes, requests in
            let file = try result.get()
            let expected = second == .otherFile ? other : Self.content
            #expect(bytes == expected)
            #expect(file.digest == Digest.of(expected))
            #expect(file.size == Int64(expected.count))
            #expect((requests[1].header("Range") == nil) == (second == .withoutTag))
            if second != .withoutTag { #expect(requests[1].header("If-Range") == "\"1\"") }
        }
    }

    @Test("only bytes with the right checksum get the file's name", arguments: [true, false])
    func checksums(isRight: Bool) async throws {
        let served = isRight ? Self.content : Self.content.dropLast() + [0]
        try await Self.download(checksum: Self.checksum) { _, _, connection in
            connection.answer(200, [], served)
        } _: { result, bytes, requests in
            #expect(bytes == (isRight ? served : nil))
            #expect(Self.kind(result) == (isRight ? nil : .corrupt))
            #expect(requests.count == 1)
        }
    }

    @Test("a server that always sends less than it says is given up")
    func lies() async throws {
        try await Self.download { _, _, connection in
            connection.head(200, ["Content-Length: 1000"])
            connection.send([1, 2, 3])
        } _: { result, bytes, requests in
            #expect(Self.kind(result) == .unreachable)
            #expect(bytes == nil)
            #expect(requests.count == TaskClient.Times().attempts)
        }
    }

    @Test(
        "what may get better is tried again, what won't is not",
        arguments: [408, 429, 500, 502, 503, 504, 400, 401, 403, 404, 410])
    func statuses(status: Int) async throws {
        let mayGetBetter = status == 408 || status == 429 || status >= 500
        let pauses = RecordedPauses()
        try await Self.download(client: .testing(pauses: pauses)) { _, number, connection in
            if number == 0 {
                connection.answer(status, ["Retry-After: 7"], Array("why: https://u:secret@x/".utf8))
            } else {
                connection.answer(200, [], Self.content)
            }
        } _: { result, bytes, requests in
            #expect(requests.count == (mayGetBetter ? 2 : 1))
            #expect(bytes == (mayGetBetter ? Self.content : nil))
            #expect(pauses.all == (mayGetBetter ? [.seconds(7)] : []))
            if status == 404 || status == 410 { #expect(Self.kind(result) == .notFound) }
        }
    }

    @Test("pauses grow, vary and end")
    func backOff() async throws {
        let pauses = RecordedPauses()
        try await Self.download(client: .testing(pauses: pauses)) { _, _, connection in
            connection.answer(503)
        } _: { result, _, requests in
            #expect(Self.kind(result) == .unreachable)
            #expect(requests.count == 6)
            #expect(pauses.all.count == 5)
            for (index, pause) in pauses.all.enumerated() {
                let middle = Duration.milliseconds(500) * (1 << index)
                #expect(pause >= middle * 0.75 && pause <= middle * 1.25)
            }
        }
    }

    @Test("a file over the limit is refused, whether the server says its size or not", arguments: [true, false])
    func limit(isAnnounced: Bool) async throws {
        try await Self.download(limit: 1000) { _, _, connection in
            if isAnnounced {
                connection.answer(200, [], Self.content)
            } else {
                connection.head(200, [])
                connection.send(Self.content)
            }
        } _: { result, bytes, _ in
            #expect(Self.kind(result) == .tooLarge)
            #expect(bytes == nil)
        }
    }

    @Test("a server that goes silent is not waited for")
    func silence() async throws {
        // A loaded machine may be silent for a while by itself; then the next request brings the rest.
        try await Self.download(client: .testing(silence: .seconds(1))) { _, number, connection in
            connection.head(200, ["Content-Length: \(Self.content.count)", "ETag: \"1\""])
            if number > 0 { return connection.send(Self.content) }
            connection.send(Array(Self.content[..<10]))
            connection.stall()
        } _: { _, bytes, requests in
            #expect(bytes == Self.content)
            #expect(requests.count >= 2)
        }
    }

    @Test("a server that drips is cut off when the whole time is over")
    func drips() async throws {
        try await Self.download(client: .testing(whole: .milliseconds(300))) { _, _, connection in
            connection.head(200, ["Content-Length: 1000000"])
            for _ in 0..<1000 {
                connection.send([0])
                try? await Task.sleep(for: .milliseconds(2))
            }
        } _: { result, bytes, _ in
            #expect(Self.kind(result) == .timedOut)
            #expect(bytes == nil)
        }
    }

    @Test(
        "redirects lead nowhere that a URL may not lead",
        arguments: [
            "http://169.254.169.254/latest", "http://[::1]:80/", "http://2130706433/", "http://localhost:1/",
            "file:///etc/passwd", "http://0/", "//[::ffff:169.254.169.254]/",
        ])
    func forbiddenRedirects(target: String) async throws {
        try await Self.download(client: .testing(hosts: ["127.0.0.1:1"])) { _, _, connection in
            connection.answer(302, ["Location: \(target)"])
        } _: { result, _, _ in
            // The server itself is not allowed here.
            #expect(Self.kind(result) == .forbidden)
        }
        try await ScriptedServer.with({ _, _, connection in connection.answer(302, ["Location: \(target)"]) }) {
            server in
            try await withTemporaryDirectory { directory in
                let client = try TaskClient.testing(hosts: [server.address])
                let error = await #expect(throws: TransferFailure.self) {
                    _ = try await client.download(
                        TransferURL("http://\(server.address)/x"), to: directory + "/x", limit: 100)
                }
                #expect(error?.kind == .forbidden)
                #expect(server.requests.count == 1)
            }
        }
    }

    @Test("a redirect to another server is followed without the password; endless ones are not")
    func redirects() async throws {
        try await ScriptedServer.with(files: ["/there": Self.content]) { other in
            let log = RecordedPauses()
            try await Self.download(client: .testing(pauses: log)) { request, _, connection in
                if request.target.hasPrefix("/file") {
                    connection.answer(307, ["Location: /own"])
                } else {
                    connection.answer(302, ["Location: http://\(other.address)/there"])
                }
            } _: { result, bytes, requests in
                let file = try result.get()
                #expect(file.size == Int64(Self.content.count))
                #expect(bytes == Self.content)
                #expect(requests.map { $0.header("Authorization") } == [basic("u"), basic("u")])
                #expect(other.requests.map { $0.header("Authorization") } == [nil])
            }
        }
        try await Self.download { _, number, connection in
            connection.answer(302, ["Location: /\(number)"])
        } _: { result, _, requests in
            #expect(Self.kind(result) == .refused)
            #expect(requests.count == TaskClient.maximumRedirects + 1)
        }
    }

    @Test("a full disk is called one, and leaves nothing")
    func fullDisk() async throws {
        try await ScriptedServer.with(files: ["/x": Self.content]) { server in
            try await withTemporaryDirectory { directory in
                let disk = directory + "/disk"
                try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: false)
                try await runSuccessfully("mount", ["-t", "tmpfs", "-o", "size=64k", "none", disk])
                let error = await #expect(throws: TransferFailure.self) {
                    _ = try await TaskClient.testing().download(
                        TransferURL("http://\(server.address)/x"), to: disk + "/x", limit: 1 << 20)
                }
                #expect(error?.kind == .file)
                #expect(error?.description.contains("the disk is full") == true)
                #expect(try FileManager.default.contentsOfDirectory(atPath: disk).isEmpty)
            }
        }
    }
}
