import Foundation
import JSON
import OCI
import TestSupport
import Testing

extension ServerTests {
    @Suite("Another start on the same directory", .serialized, .sideBySide)
    struct RestartTests {
        /// What a user sees of a server.
        private struct View: Equatable {
            var digests: [String: String] = [:]
            var tags: JSONValue = .null
            var droplets: JSONValue = .null
            var rootfs: JSONValue = .null
            var history: JSONValue = .null

            init(_ world: World, _ references: [String]) async throws {
                for reference in references {
                    digests[reference] = try await Image(reference, of: "cloudfoundry/app", from: world.client).digest
                }
                tags = try await world.client.get("/v2/cloudfoundry/app/tags/list").json
                droplets = try await world.client.get("/api/v1/droplets", as: "operator").json
                rootfs = try await world.client.get("/api/v1/rootfs", as: "operator").json
                history = try await world.client.get("/api/v1/rootfs/tiny/current", as: "operator").json
            }
        }

        @Test("Digests, tags, droplets and the promoted rootfs are as before, after SIGTERM and after kill -9")
        func same() async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                let droplet = Droplet("restart")
                var references = [droplet.sha256, droplet.sha1, "\(droplet.sha256)-1", "\(droplet.sha256)-2"]
                let before = try await World.with(data: data, ["--stack", "tiny"]) { world in
                    try await world.server.importTinyRootfs(version: "1")
                    try await world.upload(droplet, guid: "app")
                    // Pulled before the other version is promoted: it has to stay there by its digest.
                    references.append(
                        try await Image(droplet.sha256, of: "cloudfoundry/app", from: world.client).digest)
                    try await world.server.importTinyRootfs(version: "2")
                    return try await View(world, references)
                }
                #expect(before.digests[droplet.sha256] == before.digests["\(droplet.sha256)-2"])
                #expect(before.digests[references[4]] == before.digests["\(droplet.sha256)-1"])
                try await World.with(data: data, ["--stack", "tiny"]) { world in
                    let view = try await View(world, references)
                    #expect(view == before)
                    #expect(!world.log.contains(#""level":"error""#))
                }
                let killed = try await World(data: data, arguments: ["--stack", "tiny"])
                try await killed.server.kill()
                try await World.with(data: data, ["--stack", "tiny"]) { world in
                    let view = try await View(world, references)
                    #expect(view == before)
                }
            }
        }

        @Test("Another layers.level is for what is converted from then on; what was uploaded keeps its image")
        func level() async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                let lines = (0..<4000).map { "line \($0) of \($0 % 17): something that compresses\n" }
                let droplet = Droplet(lines.joined())
                func image(_ guid: String, _ world: World) async throws -> Image {
                    try await world.upload(droplet, guid: guid)
                    return try await Image(droplet.sha256, of: "cloudfoundry/\(guid)", from: world.client)
                }
                let fast = try await World.with(data: data, ["--stack", "tiny"]) { world in
                    try await world.server.importTinyRootfs()
                    return try await image("first", world)
                }
                let small = try await World.with(data: data, ["--stack", "tiny", "--layers-level", "small"]) { world in
                    let kept = try await image("first", world)
                    #expect(kept.digest == fast.digest)
                    let small = try await image("second", world)
                    #expect(small.config["rootfs"]?["diff_ids"] == fast.config["rootfs"]?["diff_ids"])
                    #expect(small.layerDigests.dropLast() == fast.layerDigests.dropLast())
                    let sizes = [small, fast].compactMap { $0.layers.last?["size"]?.integer }
                    #expect(sizes.count == 2 && sizes[0] < sizes[1])
                    try await small.verifyLayers(all: false, from: world.client)
                    let layer = try #require(small.layerDigests.last)
                    let bytes = try await world.client.get(
                        "/v2/cloudfoundry/second/blobs/\(layer)", as: "pull"
                    ).body
                    try Data(bytes).write(to: URL(fileURLWithPath: directory + "/layer"))
                    let unpacked = try await runSuccessfully(
                        "sh", ["-c", "gzip -dc layer | sha256sum"], directory: directory)
                    let diffID = small.config["rootfs"]?["diff_ids"]?.array?.last?.string
                    #expect(diffID.map { unpacked.output.hasPrefix($0.dropFirst("sha256:".count)) } == true)
                    return small
                }
                try await World.with(data: data, ["--stack", "tiny"]) { world in
                    let first = try await image("first", world)
                    let second = try await image("second", world)
                    let third = try await image("third", world)
                    #expect(first.digest == fast.digest)
                    #expect(second.digest == small.digest)
                    #expect(third.layerDigests == fast.layerDigests)
                }
            }
        }

        @Test("References that are printed begin with the public address, whatever the request called the server")
        func publicAddress() async throws {
            try await World.with(["--stack", "tiny", "--public-address", "registry.example:5000"]) { world in
                try await world.server.importTinyRootfs(version: "1")
                let droplet = Droplet("public")
                try await world.upload(droplet, guid: "app")
                let shown = try await world.client.get("/api/v1/droplets/app/\(droplet.sha256)", as: "operator").json
                #expect(
                    shown["image"]?.string == "registry.example:5000/cloudfoundry/app:\(droplet.sha256)")
                let prepull = try await world.client.get("/api/v1/rootfs/tiny/1/prepull", as: "operator")
                #expect(prepull.text.contains("\"registry.example:5000/cistern/tiny"), "\(prepull.text)")
            }
        }

        @Test("Images of a new version name their base by the public address; those that were there keep their bytes")
        func baseName() async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                let droplet = Droplet("base-name")
                func manifest(_ world: World, _ reference: String) async throws -> Answer {
                    try await world.client.get("/v2/cloudfoundry/app/manifests/\(reference)")
                }
                func name(_ answer: Answer) -> String? {
                    answer.json["annotations"]?["org.opencontainers.image.base.name"]?.string
                }
                var old = ""
                try await World.with(data: data, ["--stack", "tiny"]) { world in
                    try await world.server.importTinyRootfs(version: "1")
                    try await world.upload(droplet, guid: "app")
                    let answer = try await manifest(world, droplet.sha256)
                    #expect(answer.status == 200 && name(answer) == nil)
                    old = Digest.of(answer.body).description
                }
                let arguments = ["--stack", "tiny", "--public-address", "registry.example:5000"]
                try await World.with(data: data, arguments) { world in
                    for reference in [droplet.sha256, old] {
                        let answer = try await manifest(world, reference)
                        #expect(Digest.of(answer.body).description == old, "it is what it was")
                    }
                    try await world.server.importTinyRootfs(version: "2")
                    let answer = try await manifest(world, droplet.sha256)
                    #expect(name(answer) == "registry.example:5000/cistern/tiny:2")
                    let base = try await world.client.get("/v2/cistern/tiny/manifests/2")
                    let digest = answer.json["annotations"]?["org.opencontainers.image.base.digest"]?.string
                    #expect(digest == Digest.of(base.body).description)
                }
                // A name that changes later changes none of them.
                try await World.with(data: data, ["--stack", "tiny", "--public-address", "other.example"]) { world in
                    let answer = try await manifest(world, droplet.sha256)
                    #expect(name(answer) == "registry.example:5000/cistern/tiny:2")
                }
            }
        }

        @Test("A second server refuses the directory, says whose it is and disturbs nobody")
        func owned() async throws {
            try await World.with { world in
                let address = try String(contentsOfFile: world.directory + "/address", encoding: .utf8)
                let second = try await run(
                    "cistern", ["serve", "--data", world.directory, "--listen", "127.0.0.1:0"], timeout: .seconds(60))
                #expect(second.status == 1)
                #expect(second.errors.contains("process \(world.server.process.pid)"), "\(second.errors)")
                #expect(second.errors.contains("in use"), "\(second.errors)")
                #expect(try String(contentsOfFile: world.directory + "/address", encoding: .utf8) == address)
                #expect(try await world.client.get("/v2/").status == 200)
                try await world.server.importTinyRootfs()
            }
        }

        @Test("A journal that went missing after kill -9 is said and refused, until the loss is accepted")
        func lostJournal() async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                let world = try await World(data: data, arguments: ["--stack", "tiny"])
                try await world.server.importTinyRootfs()
                try await world.server.kill()
                try FileManager.default.removeItem(atPath: data + "/store/journal")
                let arguments = ["serve", "--data", data, "--listen", "127.0.0.1:0"]
                let refused = try await run("cistern", arguments, timeout: .seconds(60))
                #expect(refused.status == 1)
                #expect(refused.errors.contains("the journal is damaged: frame "), "\(refused.errors)")
                #expect(refused.errors.contains("(--accept-loss)"), "\(refused.errors)")
                try await World.with(data: data, ["--stack", "tiny", "--accept-loss"]) { world in
                    #expect(world.log.contains("is lost, which was accepted"))
                    try await world.server.importTinyRootfs(version: "2")
                }
                try await World.with(data: data, ["--stack", "tiny"]) { world in
                    let current = try await world.client.get("/api/v1/rootfs/tiny/current", as: "operator")
                    #expect(current.status == 200)
                }
            }
        }

        @Test("Content that rotted on the disk is not sent, before anybody verified it; uploaded again it is whole")
        func rotten() async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                let droplet = Droplet("rotten", noise: 300_000)
                let path = "/droplets/app/\(droplet.sha256)"
                let layers = try await World.with(data: data, ["--stack", "tiny"]) { world in
                    try await world.server.importTinyRootfs()
                    try await world.upload(droplet, guid: "app")
                    return try await Image(droplet.sha256, of: "cloudfoundry/app", from: world.client).layerDigests
                }
                let folder = data + "/store/objects/data/"
                for name in try FileManager.default.contentsOfDirectory(atPath: folder) {
                    var bytes = try Data(contentsOf: URL(fileURLWithPath: folder + name))
                    bytes[bytes.count / 2] ^= 1
                    try bytes.write(to: URL(fileURLWithPath: folder + name))
                }
                try await World.with(data: data, ["--stack", "tiny"]) { world in
                    let paths = layers.map { "/v2/cloudfoundry/app/blobs/\($0)" } + [path]
                    for path in paths {
                        let answer = try await world.client.get(path, as: "operator")
                        #expect(answer.status == 500 && answer.body.count < 1000, "\(path): \(answer.text)")
                        #expect(try await world.client.get(path, as: "operator").status != 200)
                    }
                    let verified = try await world.server.cistern(["verify"])
                    #expect(verified.status == 1)
                    for layer in layers { #expect(verified.output.contains(layer), "\(verified.output)") }
                    try await world.upload(droplet, guid: "app")
                    let last = try #require(layers.last)
                    for path in ["/v2/cloudfoundry/app/blobs/\(last)", path] {
                        #expect(try await world.client.get(path, as: "operator").status == 200)
                    }
                }
            }
        }

        @Test("An address that is taken is a failure that names it")
        func taken() async throws {
            try await World.with { world in
                try await withTemporaryDirectory { directory in
                    let second = try await run(
                        "cistern", ["serve", "--data", directory + "/data", "--listen", world.server.address],
                        timeout: .seconds(60))
                    #expect(second.status == 1)
                    #expect(second.errors.contains(world.server.address), "\(second.errors)")
                    #expect(!FileManager.default.fileExists(atPath: directory + "/data/address"))
                }
            }
        }

        @Test("The data directory and its secrets are their owner's alone")
        func modes() async throws {
            try await World.with { world in
                for (path, mode) in [
                    ("", 0o700), ("/secrets", 0o700), ("/secrets/operator.password", 0o600),
                    ("/secrets/pull.password", 0o600), ("/secrets/url-signing.keys", 0o600),
                    ("/users.htpasswd", 0o600),
                ] {
                    let attributes = try FileManager.default.attributesOfItem(atPath: world.directory + path)
                    #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == mode, "\(path)")
                }
                let tls = try FileManager.default.contentsOfDirectory(atPath: world.directory + "/tls")
                #expect(tls.filter { $0.contains("key") }.sorted() == ["ca-key.pem", "server-key.pem"])
                for name in tls where name.contains("key") {
                    let attributes = try FileManager.default.attributesOfItem(atPath: "\(world.directory)/tls/\(name)")
                    #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o600, "\(name)")
                }
            }
        }
    }
}
