import Foundation
import JSON
import OCI
import TestSupport
import Testing

/// A store that an earlier version wrote, unpacked: `fixtures/stores/make` says what is in it.
struct KeptStore {
    /// Something that was served.
    struct Content {
        let path: String
        /// What the client said it takes; empty: nothing.
        let accept: String
        let digest: Digest
        let size: Int64
        let type: String

        /// Whether the path names it by its digest, so that it can never become something else.
        var isByDigest: Bool { path.split(separator: "/").last?.contains(":") ?? false }
    }

    let directory: String
    /// What the server ran with.
    let arguments: [String]
    let content: [Content]
    let gone: [String]
    let garbage: [String]
    let quarantined: [(repository: String, content: [UInt8])]
    let answers: [(path: String, body: JSONValue)]
    let unfinished: String

    var data: String { directory + "/data" }

    /// The names of all archives.
    static let names: [String] = {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return files.filter { $0.hasSuffix(suffix) }.map { String($0.dropLast(suffix.count)) }.sorted()
    }()

    private static let folder = Programs.repository + "/fixtures/stores"
    private static let suffix = ".tar.zst"

    /// Unpacks an archive into a temporary directory and gives it to the body.
    static func with(_ name: String, _ body: (KeptStore) async throws -> Void) async throws {
        try await withTemporaryDirectory { directory in
            try await runSuccessfully("tar", ["-C", directory, "-xf", "\(folder)/\(name)\(suffix)"])
            try await body(KeptStore(in: directory))
        }
    }

    private init(in directory: String) throws {
        self.directory = directory
        let bytes = try #require(FileManager.default.contents(atPath: directory + "/served.json"))
        let served = try JSONValue(parsing: Array(bytes))
        func strings(_ name: String) throws -> [String] { try #require(served[name]?.array).compactMap(\.string) }
        arguments = try strings("arguments").map { $0.replacing("{}", with: directory) }
        gone = try strings("gone")
        garbage = try strings("garbage")
        unfinished = try #require(served["unfinished"]?.string)
        content = try #require(served["content"]?.array).map { row in
            Content(
                path: try #require(row["path"]?.string), accept: row["accept"]?.string ?? "",
                digest: try Digest(parsing: try #require(row["digest"]?.string)),
                size: try #require(row["size"]?.integer), type: try #require(row["type"]?.string))
        }
        answers = try #require(served["answers"]?.array).map { row in
            (try #require(row["path"]?.string), try #require(row["body"]))
        }
        quarantined = try #require(served["quarantined"]?.array).map { row in
            let data = try #require(row["content"]?.string.flatMap { Data(base64Encoded: $0) })
            return (try #require(row["repository"]?.string), Array(data))
        }
    }

    /// Starts this build's server on it, gives it to the body and stops it.
    /// - Parameter arguments: nil: those that it was written with.
    func serve(_ arguments: [String]? = nil, more: [String] = [], _ body: (RunningServer) async throws -> Void)
        async throws
    {
        let server = try await RunningServer(data: data, arguments: (arguments ?? self.arguments) + more)
        do {
            try await body(server)
            #expect(try await server.stop() == 0, "it stops as it should")
        } catch {
            try? await server.kill()
            let log = (try? String(contentsOfFile: server.log, encoding: .utf8)) ?? ""
            print("the server's log ends:\n\(log.suffix(8000))")
            throw error
        }
    }

    /// How often a start said that it migrates.
    var migrations: Int {
        get throws {
            try String(contentsOfFile: data + ".log", encoding: .utf8).split(separator: "\n")
                .count { $0.contains("earlier versions of Cistern can't read") }
        }
    }

    /// Compares what a server serves with what was served: every byte, by its digest, and the media type.
    func expectContent(_ server: RunningServer, _ isWanted: (Content) -> Bool = { _ in true }) async throws {
        let wanted = content.filter(isWanted)
        try #require(!wanted.isEmpty)
        for (accept, rows) in Dictionary(grouping: wanted, by: \.accept) {
            for (row, answer) in zip(rows, try await server.fetch(rows.map(\.path), accept: accept)) {
                guard answer.status == 200 else {
                    Issue.record("\(row.path) (\(accept)) is \(answer.status): it was served")
                    continue
                }
                var hasher = DigestHasher(row.digest.algorithm)
                hasher.update(answer.body)
                #expect(hasher.finish() == row.digest, "\(row.path) (\(accept)) is not what it was")
                #expect(Int64(answer.body.count) == row.size, "\(row.path) has another size")
                #expect(answer.type == row.type, "\(row.path) has another type")
            }
        }
    }

    /// Expects that nothing is served of what was removed or is damaged.
    func expectNothing(of paths: [String], _ server: RunningServer) async throws {
        try #require(!paths.isEmpty)
        for (path, answer) in zip(paths, try await server.fetch(paths, accept: "*/*")) {
            #expect(answer.status == 404, "\(path)")
        }
    }

    /// Compares answers of the API: every member that there was is there and says the same; others may have been added.
    func expectAnswers(_ server: RunningServer) async throws {
        try #require(!answers.isEmpty)
        for ((path, then), answer) in zip(answers, try await server.fetch(answers.map(\.path), accept: "")) {
            #expect(answer.status == 200, "\(path)")
            var (then, now) = (then, (try? JSONValue(parsing: answer.body)) ?? .null)
            if path.contains("/referrers/") {
                // An image with zstd layers has the same bytes for both media-type families, and a statement for each:
                // which of the two is listed depends on what was asked for before. Both are among the content.
                (then, now) = (Self.types(of: then), Self.types(of: now))
            }
            if path.hasPrefix("/v2/_catalog") {
                // It listed what was pushed to; since then it lists what can be pulled.
                let pushed = (then["repositories"]?.array ?? []).filter { name in
                    content.contains { $0.path.hasPrefix("/v2/\(name.string ?? "")/manifests/") }
                }
                then = ["repositories": .array(pushed)]
                now = ["repositories": .array((now["repositories"]?.array ?? []).filter(Set(pushed).contains))]
            }
            let problems = Self.differences(then, now, at: path)
            #expect(problems.isEmpty, "\(problems.joined(separator: "\n"))")
        }
    }

    /// What kinds of referrers are listed, in alphabetical order.
    private static func types(of referrers: JSONValue) -> JSONValue {
        let types = (referrers["manifests"]?.array ?? []).map { $0["artifactType"]?.string ?? "" }
        return .array(types.sorted().map { .string($0) })
    }

    private static func differences(_ then: JSONValue, _ now: JSONValue, at place: String) -> [String] {
        switch (then, now) {
        case (.object(let then), .object(let now)):
            return then.sorted { $0.key < $1.key }.flatMap { name, value in
                now[name].map { differences(value, $0, at: "\(place) \(name)") } ?? ["\(place): \(name) is missing"]
            }
        case (.array(let then), .array(let now)):
            guard then.count == now.count else { return ["\(place): \(now.count) elements, there were \(then.count)"] }
            return zip(then, now).enumerated().flatMap { differences($1.0, $1.1, at: "\(place) \($0)") }
        default: return then == now ? [] : ["\(place): \(now), it was \(then)"]
        }
    }
}
