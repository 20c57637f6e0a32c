import Foundation
import JSON
import OCI
import TestSupport
import Testing

extension ServerTests {
    @Suite("kill -9 and imports", .serialized, .longSideBySide)
    struct ImportKillTests {
        private static let rounds = 10

        /// What is imported.
        enum Source: CaseIterable {
            case tar, signedTar, prehashedTar, ociArchive, signedImage, dockerArchive

            var file: String {
                switch self {
                case .tar, .signedTar, .prehashedTar: "base.tar"
                case .ociArchive, .signedImage: "oci.tar.gz"
                case .dockerArchive: "docker.tar"
                }
            }

            var contentType: String {
                switch self {
                case .tar, .signedTar, .prehashedTar: "application/octet-stream"
                case .ociArchive, .signedImage: "application/vnd.oci.image.layout.v1+tar"
                case .dockerArchive: "application/vnd.docker.image.archive.v1+tar"
                }
            }

            var signature: String? {
                switch self {
                case .signedTar: "file.ops"
                case .prehashedTar: "file.mini"
                case .signedImage: "manifest.ops"
                case .tar, .ociArchive, .dockerArchive: nil
                }
            }
        }

        @Test(
            "Killed at any moment, the server has the whole version or none, and what it left goes",
            arguments: Source.allCases)
        func killed(source: Source) async throws {
            var random = SeededRandom(seed: 21)
            try await withTemporaryDirectory { directory in
                let image = try await RootfsLayout(in: directory)
                try await image.sign()
                let data = directory + "/data"
                let arguments = source.signature == nil ? [] : ["--rootfs-signatures", "required"]
                try await World.with(data: data, arguments) { try await image.trust(["ops.pem", "mini.pub"], $0) }
                let objects = StoreTree(directory: data + "/store").objects()
                let upload = try Upload(source, of: image)
                var whole: Set<JSONValue> = []
                var imported: [String] = []
                for round in 0..<Self.rounds {
                    let moment = KillMoment(acknowledgements: 0...0, microseconds: 0...400_000, random: &random)
                    let known = imported
                    let found = try await KillableServer.with(data: data, arguments) { server in
                        let found = try await Self.versions(server.client, notYet: known)
                        try await upload.send("\(round)", to: server, killedAt: moment)
                        return found
                    }
                    whole.formUnion(found.layers)
                    imported += found.names
                }
                #expect(imported.count < Self.rounds - 1, "some were cut short")
                let known = imported
                let left = try await World.with(data: data, arguments + ["--gc-grace-seconds", "1"]) { world in
                    let found = try await Self.versions(world.client, notYet: known)
                    let answer = try await upload.send("last", to: world.client)
                    #expect(answer?.status == 201, "\(answer?.text ?? "no answer")")
                    try await Self.collect(world)
                    return found.layers.union([answer?.json["layers"] ?? .null])
                }
                whole.formUnion(left)
                #expect(whole.count == 1, "each import gave the same layer: \(whole)")
                let more = StoreTree(directory: data + "/store").objects().subtracting(objects)
                #expect(more.count { $0.hasPrefix("data/") } == 1, "the layer and nothing else: \(more)")
                #expect(more.count { $0.hasPrefix("blobs/") } == 1, "\(more)")
            }
        }

        /// The versions that were not known before, each of which must be pullable to the last byte, and their layers.
        private static func versions(
            _ client: Client, notYet known: [String]
        ) async throws -> (names: [String], layers: Set<JSONValue>) {
            let list = try await client.get("/api/v1/rootfs", as: "operator")
            try #require(list.status == 200, "\(list.text)")
            let versions = (list.json["versions"]?.array ?? []).filter {
                !known.contains($0["version"]?.string ?? "")
            }
            for version in versions {
                let digest = version["layers"]?.array?.first?["digest"]?.string ?? ""
                let name = version["version"]?.string ?? ""
                let image = try await Image(name, of: "cistern/s", from: client, as: "operator")
                #expect(image.layerDigests.first == digest, "\(name)")
                let layer = try await client.get("/v2/cistern/s/blobs/\(digest)", as: "operator")
                #expect(layer.status == 200 && Digest.of(layer.body).description == digest, "\(name): \(layer.text)")
            }
            return (versions.compactMap { $0["version"]?.string }, Set(versions.map { $0["layers"] ?? .null }))
        }

        /// Has what was left over removed, once it is old enough.
        private static func collect(_ world: World) async throws {
            let start = ContinuousClock.now
            try await waitUntil("the grace period's end") { ContinuousClock.now > start + .milliseconds(1500) }
            _ = try await world.client.operate("/api/v1/gc")
            try await world.server.cisternSuccessfully(["verify", "--repair"])
            #expect(world.store.unfinished() == [])
        }

        private struct Upload: Sendable {
            let headers: [String: String]
            let body: [UInt8]

            init(_ source: Source, of image: RootfsLayout) throws {
                func file(_ name: String) throws -> Data {
                    try Data(contentsOf: URL(fileURLWithPath: "\(image.directory)/\(name)"))
                }
                var headers = ["Content-Type": source.contentType]
                if let signature = source.signature {
                    headers["Cistern-Signature"] = try file(signature).base64EncodedString()
                }
                self.headers = headers
                body = Array(try file(source.file))
            }

            /// - Returns: nil if the server went away.
            @discardableResult
            func send(_ version: String, to client: Client) async throws -> Answer? {
                try? await client.send(
                    "PUT", "/api/v1/rootfs/s/\(version)?shell=/bin/sh", as: "operator", headers, body: body,
                    limit: .seconds(60))
            }

            func send(_ version: String, to server: KillableServer, killedAt moment: KillMoment) async throws {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        let answer = try await send(version, to: server.client)
                        if let answer { #expect(answer.status == 201, "\(answer.text)") }
                    }
                    group.addTask { try await moment.kill(server, after: Counter()) }
                    try await group.waitForAll()
                }
            }
        }
    }
}
