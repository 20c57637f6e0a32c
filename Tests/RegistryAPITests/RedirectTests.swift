import Blobs
import Droplets
import Foundation
import Images
import JSON
import Logging
import OCI
import ObjectStore
import Registry
import RegistryAPI
import Rootfs
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing

@testable import HTTPServer
@testable import Identity
@testable import Logs

@Suite("Redirects to a store that presigns", .timeLimit(.minutes(5)))
struct RedirectTests {
    /// A registry on one port, its store on another.
    private struct Pair: Sendable {
        let port: Int
        let store: PresigningStore

        /// What curl was answered: the status, the head's fields in lower case, and the body.
        func curl(_ path: String, _ arguments: [String] = []) async throws -> (status: Int, head: String, body: [UInt8])
        {
            try await withTemporaryDirectory { directory in
                let result = try await runSuccessfully(
                    "curl",
                    [
                        "--silent", "--user", "pusher:secret", "--dump-header", directory + "/head", "--output",
                        directory + "/body",
                        "--write-out", "%{http_code}", "http://127.0.0.1:\(port)\(path)",
                    ] + arguments)
                let head = try String(contentsOfFile: directory + "/head", encoding: .utf8)
                let body = FileManager.default.contents(atPath: directory + "/body") ?? Data()
                return (Int(result.output) ?? 0, head.lowercased(), Array(body))
            }
        }
    }

    private struct Pusher: Authenticating {
        func known(_ authorization: String) -> Principal? {
            authorization == "Basic " + Data("pusher:secret".utf8).base64EncodedString()
                ? Principal(name: "pusher", roles: [.push]) : nil
        }

        func authenticate(_ authorization: String, from address: ClientAddress) async throws -> Principal? { nil }
    }

    /// - Parameter presigns: the store is one that can.
    private static func with(
        redirects: Bool, presigns: Bool = true, _ body: @escaping @Sendable (Pair) async throws -> Void
    ) async throws {
        let presigning = PresigningStore()
        let lines = Log()
        let sink = LogSink(maximum: 1 << 20) { lines.add($0) }
        let store: any ObjectStore = presigns ? CachingObjectStore(presigning) : MemoryObjectStore()
        let blobs = BlobStore(store: store, now: { 1_000_000_000 })
        let registry = Registry(store: store, blobs: blobs, now: { 1_000_000_000 })
        let images = DerivedImages(
            droplets: DropletCatalog(store: store, blobs: blobs, conversions: 1, now: { 0 }),
            rootfs: try await RootfsCatalog(store: store, blobs: blobs, now: { 0 }),
            recipes: try await RecipeStore(store: store), lifecycle: [:])
        let api = RegistryAPI(
            images: images, registry: registry, uploads: UploadSessions(registry: registry), blobs: blobs,
            redirects: redirects)
        try await serving(presigning.routes, sink) { port in
            presigning.serve(at: port)
            try await serving(api.routes, sink) { port in
                try await body(Pair(port: port, store: presigning))
            }
        }
        sink.flush()
        let log = lines.text
        #expect(log.contains("/blobs/"), "requests are logged")
        #expect(!log.contains("signature"), "no URL of the store is")
    }

    private static func serving(
        _ routes: Routes, _ sink: LogSink, _ body: @escaping @Sendable (Int) async throws -> Void
    ) async throws {
        let (addresses, bound) = AsyncStream.makeStream(of: [BoundAddress].self)
        let logger = Logger(label: "test") { JSONLogHandler(label: $0, level: .trace, sink: sink) }
        let server = HTTPServer(
            listeners: [Listener(address: ListenAddress(host: "127.0.0.1", port: 0), security: .plain)],
            routes: routes, authenticator: Pusher(), accessLog: AccessLog(sink: sink), logger: logger
        ) { bound.yield($0) }
        let group = ServiceGroup(
            configuration: .init(
                services: [.init(service: server, successTerminationBehavior: .gracefullyShutdownGroup)],
                logger: logger))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask {
                defer { bound.finish() }
                try await group.run()
            }
            var iterator = addresses.makeAsyncIterator()
            if let port = await iterator.next()?.first?.address.port {
                do { try await body(port) } catch {
                    await group.triggerGracefulShutdown()
                    throw error
                }
                await group.triggerGracefulShutdown()
            }
            try await tasks.waitForAll()
        }
    }

    private static let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }

    /// - Returns: the path of a blob that was pushed.
    private static func push(_ pair: Pair, _ bytes: [UInt8] = bytes) async throws -> String {
        let digest = Digest.of(bytes)
        try await withTemporaryDirectory { directory in
            try Data(bytes).write(to: URL(fileURLWithPath: directory + "/blob"))
            let pushed = try await pair.curl(
                "/v2/a/b/blobs/uploads/?digest=\(digest)",
                ["--request", "POST", "--header", "Expect:", "--data-binary", "@\(directory)/blob"])
            try #require(pushed.status == 201)
        }
        return "/v2/a/b/blobs/\(digest)"
    }

    @Test("a blob that lies in its record is answered here: the store has no object for it")
    func small() async throws {
        try await Self.with(redirects: true) { pair in
            let answer = try await pair.curl(try await Self.push(pair, Array("small".utf8)))
            #expect(answer.status == 200 && answer.body == Array("small".utf8))
            #expect(pair.store.requests.isEmpty)
        }
    }

    @Test("GET is sent on with 307, and the store serves the whole blob or the range that is asked for there")
    func follows() async throws {
        try await Self.with(redirects: true) { pair in
            let path = try await Self.push(pair)
            let answer = try await pair.curl(path)
            #expect(answer.status == 307)
            #expect(answer.head.contains("docker-content-digest: \(Digest.of(Self.bytes))"))
            #expect(answer.head.contains("location: http://127.0.0.1:"))
            #expect(answer.body.isEmpty)
            #expect(pair.store.requests == [])

            let whole = try await pair.curl(path, ["--location"])
            #expect(whole.status == 200)
            #expect(whole.body == Self.bytes)
            let part = try await pair.curl(path, ["--location", "--range", "100-299"])
            #expect(part.status == 206)
            #expect(part.body == Array(Self.bytes[100..<300]))
            #expect(pair.store.requests == ["", "bytes=100-299"])
        }
    }

    @Test("HEAD, a blob that the client has, one that is not there and one that it may not see are answered here")
    func answered() async throws {
        try await Self.with(redirects: true) { pair in
            let path = try await Self.push(pair)
            let head = try await pair.curl(path, ["--head"])
            #expect(head.status == 200)
            #expect(head.head.contains("content-length: 100000"))
            let tag = "If-None-Match: \"\(Digest.of(Self.bytes))\""
            #expect(try await pair.curl(path, ["--header", tag]).status == 304)
            let missing = try await pair.curl("/v2/a/b/blobs/\(Digest.of([1]))")
            #expect(missing.status == 404)
            #expect(String(decoding: missing.body, as: UTF8.self).contains("BLOB_UNKNOWN"))
            #expect(try await pair.curl("/v2/a/c/blobs/\(Digest.of(Self.bytes))").status == 404)
            #expect(try await pair.curl(path, ["--user", "nobody:x"]).status == 401)
            #expect(pair.store.requests == [])
        }
    }

    @Test("without the setting, or over a store that can't, blobs are served here", arguments: [true, false])
    func direct(redirects: Bool) async throws {
        try await Self.with(redirects: redirects, presigns: !redirects) { pair in
            let path = try await Self.push(pair)
            let answer = try await pair.curl(path)
            #expect(answer.status == 200)
            #expect(answer.body == Self.bytes)
            #expect(try await pair.curl(path, ["--range", "0-9"]).status == 206)
            #expect(pair.store.requests == [])
        }
    }

    @Test("the store believes no URL that was made up")
    func forged() async throws {
        try await Self.with(redirects: true) { pair in
            let path = try await Self.push(pair)
            let head = try await pair.curl(path).head
            let line = try #require(head.components(separatedBy: "\r\n").first { $0.hasPrefix("location: ") })
            let url = String(line.dropFirst("location: ".count))
            let forged = url.replacing("expires=900", with: "expires=901")
            let status = try await runSuccessfully(
                "curl", ["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", forged])
            #expect(status.output == "403")
        }
    }

    @Test("skopeo copies an image by way of the store")
    func skopeo() async throws {
        try await Self.with(redirects: true) { pair in
            try await withTemporaryDirectory { directory in
                _ = try await Self.push(pair)
                // So large that its record does not hold it.
                let author = String(repeating: "a", count: 5000)
                let layers = #""rootfs":{"type":"layers","diff_ids":["\#(Digest.of(Self.bytes))"]}"#
                let config = Array(#"{"architecture":"amd64","author":"\#(author)","os":"linux",\#(layers)}"#.utf8)
                try Data(config).write(to: URL(fileURLWithPath: directory + "/config"))
                let pushed = try await pair.curl(
                    "/v2/a/b/blobs/uploads/?digest=\(Digest.of(config))",
                    ["--request", "POST", "--data-binary", "@\(directory)/config"])
                #expect(pushed.status == 201)
                let manifest = Manifest(
                    mediaType: .ociManifest,
                    config: Descriptor(mediaType: .ociConfig, digest: Digest.of(config), size: Int64(config.count)),
                    layers: [
                        Descriptor(
                            mediaType: try MediaType(parsing: "application/vnd.oci.image.layer.v1.tar"),
                            digest: Digest.of(Self.bytes), size: Int64(Self.bytes.count))
                    ])
                try Data(manifest.json.canonicalBytes).write(to: URL(fileURLWithPath: directory + "/manifest"))
                let put = try await pair.curl(
                    "/v2/a/b/manifests/1",
                    [
                        "--request", "PUT", "--data-binary", "@\(directory)/manifest", "--header",
                        "Content-Type: \(MediaType.ociManifest)",
                    ])
                #expect(put.status == 201)
                try await runSuccessfully(
                    "skopeo",
                    [
                        "copy", "--quiet", "--src-tls-verify=false", "--src-creds", "pusher:secret",
                        "docker://127.0.0.1:\(pair.port)/a/b:1", "dir:\(directory)/copy",
                    ],
                    environment: ["HOME": directory, "XDG_RUNTIME_DIR": directory])
                let layer = FileManager.default.contents(atPath: "\(directory)/copy/\(Digest.of(Self.bytes).hex)")
                #expect(layer.map(Array.init) == Self.bytes)
                #expect(pair.store.requests.count == 2, "config and layer came from the store")
            }
        }
    }
}

/// What servers logged.
private final class Log: Sendable {
    private let bytes = Mutex<[UInt8]>([])
    func add(_ more: some Sequence<UInt8>) { bytes.withLock { $0 += more } }
    var text: String { String(decoding: bytes.withLock { $0 }, as: UTF8.self) }
}
