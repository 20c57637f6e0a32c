import Foundation
import OCI
import Synchronization
import TestSupport
import Testing
import Transfer

@Suite("A client of other registries")
struct RegistryClientTests {
    private static let layers = [[UInt8](repeating: 1, count: 3_000_000), Array("small".utf8)]

    /// Serves an image of two layers and gives the client its digest.
    private static func with(
        _ options: [String], access: RegistryAccess = RegistryAccess(isPlain: true),
        _ body: (RegistryClient, OtherRegistry, Pauses) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { directory in
            let layout = try ImageLayout(in: directory + "/layout")
            let image = try layout.addImage(layers)
            let other = try layout.addImage([Array("other".utf8)], architecture: "arm64")
            let index = try layout.addIndex([other, try layout.addIndex([image])])
            try await OtherRegistry.with(layout, options) { registry in
                let location = try ImageLocation(parsing: "docker://\(registry.address)/team/x@\(index.digest)")
                let pauses = Pauses()
                try await RegistryClient.with(location, access, pause: { pauses.add($0) }) { client in
                    try await body(client, registry, pauses)
                }
            }
        }
    }

    /// Waits for nothing and remembers how long it should have been.
    private final class Pauses: Sendable {
        private let durations = Mutex<[Duration]>([])
        var all: [Duration] { durations.withLock { $0 } }
        func add(_ duration: Duration) { durations.withLock { $0.append(duration) } }
    }

    /// Reads the image and both of its layers.
    private static func read(_ client: RegistryClient) async throws -> [[UInt8]] {
        let image = try await client.image(architecture: "amd64")
        #expect(image.documents.map(\.descriptor.mediaType) == [.ociIndex, .ociIndex, .ociManifest])
        var found: [[UInt8]] = []
        for layer in image.manifest.layers {
            found.append(try await client.blob(layer).reduce(into: []) { $0 += $1 })
        }
        return found
    }

    @Test(
        "gets what it is promised, whatever the registry and the way to it are like",
        arguments: [
            [], ["redirect"], ["same-host"], ["busy"], ["cut"], ["cut", "no-range"], ["redirect", "cut", "busy"],
        ])
    func reads(faults: [String]) async throws {
        try await Self.with(faults) { client, registry, pauses in
            #expect(try await Self.read(client) == Self.layers)
            let requests = try registry.requests()
            #expect(requests.contains { $0.server == "token" && $0.authorization == "" })
            #expect(requests.contains { $0.server == "registry" && $0.authorization == "Bearer" })
            if faults.contains("redirect") {
                let elsewhere = requests.filter { $0.server == "elsewhere" }
                #expect(!elsewhere.isEmpty && elsewhere.allSatisfy { $0.authorization == "" })
            }
            if faults.contains("cut") { #expect(requests.contains { ($0.range ?? "").hasPrefix("bytes=") }) }
            let limit = Duration.seconds(30)
            #expect(pauses.all.isEmpty == faults.allSatisfy { $0 != "cut" && $0 != "busy" })
            #expect(pauses.all.allSatisfy { $0 <= limit })
            if faults == ["busy"] { #expect(pauses.all.contains(.seconds(7)), "as long as it was asked to") }
        }
    }

    @Test("says who asks: to the token server, or to the registry where that takes passwords")
    func credentials() async throws {
        let access = RegistryAccess(user: "me", password: "my secret", isPlain: true)
        try await Self.with(["--user=me:my secret"], access: access) { client, registry, _ in
            #expect(try await Self.read(client) == Self.layers)
            for request in try registry.requests() {
                #expect(request.authorization == "Basic" || request.server != "token")
                #expect(request.authorization != "Basic" || request.server != "registry")
            }
        }
        try await Self.with(["--user=me:my secret", "basic", "redirect"], access: access) { client, registry, _ in
            #expect(try await Self.read(client) == Self.layers)
            let schemes = Set(try registry.requests().map { "\($0.server) \($0.authorization)" })
            #expect(schemes == ["registry ", "registry Basic", "elsewhere "])
        }
    }

    @Test(
        "ends with the reason, and says no secret",
        arguments: [
            (["lie"], "other bytes"), (["short"], "bytes"), (["gone"], "it has no sha256:"),
            (["--user=me:else"], "--source-user"), (["--user=me:else", "basic"], "--source-user"),
            (["always-busy"], "try again later"), (["redirect", "lie"], "other bytes"),
            (["downgrade"], "safely"), (["cut", "wrong-range"], "another part"),
        ])
    func refuses(options: [String], words: String) async throws {
        let access = RegistryAccess(user: "me", password: "my secret", isPlain: true)
        try await Self.with(options, access: access) { client, _, _ in
            let error = await #expect(throws: (any Error).self) { try await Self.read(client) }
            let text = "\(error, default: "")"
            #expect(text.contains(words), "\(text)")
            for secret in ["my secret", "signature=", "a-token"] { #expect(!text.contains(secret)) }
        }
    }

    @Test("answers nobody's challenge but the registry's")
    func trap() async throws {
        let access = RegistryAccess(user: "me", password: "my secret", isPlain: true)
        try await Self.with(["--user=me:my secret", "redirect", "trap"], access: access) { client, registry, _ in
            await #expect(throws: TransferError.self) { try await Self.read(client) }
            let requests = try registry.requests()
            #expect(requests.count { $0.server == "token" } == 1 && requests.contains { $0.server == "elsewhere" })
        }
    }

    @Test("does not begin without TLS, nor asks a token server without it, unless it was told to")
    func noTLS() async throws {
        try await Self.with([], access: RegistryAccess()) { client, registry, _ in
            let error = await #expect(throws: (any Error).self) { try await Self.read(client) }
            let text = "\(error, default: "")"
            #expect(text.contains("--plain-http"), "\(text)")
            #expect((try? registry.requests())?.isEmpty ?? true)
        }
    }
}

@Suite("An image's location")
struct ImageLocationTests {
    private static let digest = "sha256:" + String(repeating: "a", count: 64)

    @Test(
        "is a host, a name and a digest",
        arguments: [
            ("docker://registry.example/a", "registry.example", "a"),
            ("docker://registry.example:5000/a/b_c/d-e", "registry.example:5000", "a/b_c/d-e"),
            ("docker://localhost/a:1.2", "localhost", "a"), ("docker://[::1]:80/a", "[::1]:80", "a"),
        ])
    func good(text: String, host: String, name: String) throws {
        let location = try ImageLocation(parsing: "\(text)@\(Self.digest)")
        #expect(location.host == host && location.name.text == name && location.digest.description == Self.digest)
        #expect(try ImageLocation(parsing: location.description) == location)
    }

    @Test(
        "is refused otherwise",
        arguments: [
            "docker://", "docker:///a", "docker://h", "docker://h/", "docker://u:p@h/a", "docker://h/A",
            "docker://h /a",
            "docker://h/../a", "docker://h:/a", "docker://h?x/a", "docker://h#x/a", "docker://u@h/a",
        ])
    func bad(text: String) {
        #expect(throws: TransferError.self) { try ImageLocation(parsing: "\(text)@\(Self.digest)") }
    }

    @Test("by a tag alone is refused, and it says how the digest is found")
    func tag() {
        let error = #expect(throws: TransferError.self) { try ImageLocation(parsing: "docker://h/a:1") }
        #expect("\(error, default: "")".contains("skopeo inspect"))
    }
}
