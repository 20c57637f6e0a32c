import Foundation
import JSON
import OCI
import TestSupport
import Testing

extension ServerTests {
    @Suite("Rootfs versions", .serialized, .sideBySide)
    struct VersionTests {
        private static func remove(_ world: World, _ path: String) async throws -> Answer {
            try await world.client.send("DELETE", "/api/v1/rootfs/" + path, as: "operator", body: [])
        }

        private static func pin(_ world: World, _ digests: String...) async throws {
            let list = digests.map { "\"\($0)\"" }.joined(separator: ",")
            let answer = try await world.client.send(
                "POST", "/api/v1/pins/east", as: "operator", body: Array("{\"digests\":[\(list)]}".utf8))
            try #require(answer.status == 204)
        }

        @Test("What is current or runs stays, what one would go back to needs force, and the rest goes with its images")
        func removal() async throws {
            try await World.with(["--stack", "tiny", "--gc-grace-seconds", "1"]) { world in
                for version in ["1", "2", "3"] { try await world.server.importTinyRootfs(version: version) }
                let droplet = Droplet("removal")
                try await world.upload(droplet, guid: "app")
                let old = try await Image("\(droplet.sha256)-1", of: "cloudfoundry/app", from: world.client)

                let unknown = try await Self.remove(world, "tiny/1")
                #expect(unknown.status == 409 && unknown.text.contains("not known"), "\(unknown.text)")
                try await Self.pin(world, old.digest)
                for path in ["tiny/1", "tiny/1?force=true"] {
                    let runs = try await Self.remove(world, path)
                    #expect(runs.status == 409 && runs.text.contains("runs"), "\(runs.text)")
                }
                try await Self.pin(world)
                let before = try await Self.remove(world, "tiny/2")
                #expect(before.status == 409 && before.text.contains("--force"), "\(before.text)")
                for path in ["tiny/3", "tiny/3?force=true"] {
                    let current = try await Self.remove(world, path)
                    #expect(current.status == 409 && current.json["code"] == "in-use", "\(current.text)")
                }
                #expect(try await Self.remove(world, "tiny/9").status == 404)
                #expect(try await Self.remove(world, "tiny/1?force=perhaps").status == 400)

                #expect(try await Self.remove(world, "tiny/1").status == 204)
                #expect(try await Self.remove(world, "tiny/2?force=true").status == 204)
                #expect(try await world.client.get("/api/v1/rootfs/tiny/1", as: "operator").status == 404)
                for reference in ["\(droplet.sha256)-1", old.digest] {
                    let gone = try await world.client.get("/v2/cloudfoundry/app/manifests/\(reference)")
                    #expect(gone.status == 404, "\(gone.text)")
                }
                let start = ContinuousClock.now
                try await waitUntil("the grace period's end") { ContinuousClock.now > start + .milliseconds(1500) }
                let collected = try await world.client.operate("/api/v1/gc")
                #expect(collected["report"]?["retired"]?.integer ?? 0 >= 2, "the layers of both")
                let now = try await Image(droplet.sha256, of: "cloudfoundry/app", from: world.client)
                try await now.verifyLayers(from: world.client)
            }
        }

        @Test("What is exported can be imported again and has the same diffID; a file that is there stays")
        func export() async throws {
            try await World.with(["--stack", "tiny"]) { world in
                try await world.server.importTinyRootfs(version: "1")
                try await withTemporaryDirectory { directory in
                    let file = directory + "/tiny.tar.gz"
                    let export = ["rootfs", "export", "--stack", "tiny", "--version"]
                    let said = try await world.server.cisternSuccessfully(export + ["1", file])
                    #expect(said.output.contains(file) && said.output.contains("sha256:"))
                    let bytes = try Data(contentsOf: URL(fileURLWithPath: file))
                    #expect(said.output.contains(Digest.of(bytes).description))
                    let again = try await world.server.cistern(export + ["1", file])
                    #expect(again.status == 1 && again.errors.contains("there already"), "\(again.errors)")
                    let none = try await world.server.cistern(export + ["2", directory + "/other"])
                    #expect(none.status == 1 && none.errors.contains("no rootfs version 2"), "\(none.errors)")
                    #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["tiny.tar.gz"])
                    try await world.server.cisternSuccessfully([
                        "rootfs", "import", "--stack", "copy", "--version", "1", "--shell", "/bin/sh", file,
                    ])
                }
                var layers: [JSONValue?] = []
                for stack in ["tiny", "copy"] {
                    let json = try await world.client.get("/api/v1/rootfs/\(stack)/1", as: "operator").json
                    layers.append(json["versions"]?.array?.first?["layers"])
                }
                #expect(layers[0] == layers[1] && layers[0] != nil, "diffID, digest and size")
                let part = try await world.client.get(
                    "/api/v1/rootfs/tiny/1/export", as: "operator", ["Range": "bytes=0-1"])
                #expect(part.status == 206 && part.body == [0x1f, 0x8b])
                let other = try await world.client.get("/api/v1/rootfs/tiny/1/export?arch=arm64", as: "operator")
                #expect(other.status == 404 && other.text.contains("arm64"))
            }
        }

        @Test("The second variant makes the tag an index; manifests, images and digests stay, after a restart too")
        func variants() async throws {
            try await withTemporaryDirectory { directory in
                let arm64 = try await Fixtures.arm64(in: directory + "/arm64")
                let arguments = ["--stack", "tiny", "--lifecycle", "arm64=\(arm64.lifecycle)"]
                let (oci, list) = (
                    "application/vnd.oci.image.index.v1+json",
                    "application/vnd.docker.distribution.manifest.list.v2+json"
                )
                let path = "/v2/cistern/tiny/manifests/"
                var known: Set<String> = []
                var single = ""
                for start in 0..<2 {
                    try await World.with(data: directory + "/data", arguments) { world in
                        func get(_ reference: String, _ accept: String?) async throws -> Answer {
                            try await world.client.get(path + reference, accept.map { ["Accept": $0] } ?? [:])
                        }
                        if start == 0 {
                            try await world.server.importTinyRootfs(version: "1")
                            let before = try await get("1", oci)
                            #expect(before["Content-Type"] == "application/vnd.oci.image.manifest.v1+json")
                            single = before["Docker-Content-Digest"] ?? ""
                            let droplet = Droplet("arm64")
                            let target = "/droplets/app/\(droplet.sha256)?arch=arm64"
                            _ = try await world.client.send("PUT", target, as: "operator", body: droplet.bytes)
                            let early = try await world.client.get("/v2/cloudfoundry/app/manifests/\(droplet.sha256)")
                            #expect(early.status == 404 && early.text.contains("no variant for arm64"), "\(early.text)")
                            try await world.server.cisternSuccessfully([
                                "rootfs", "import", "--stack", "tiny", "--version", "1", "--shell", "/bin/sh", "--arch",
                                "arm64", arm64.rootfs,
                            ])
                            let image = try await Image(droplet.sha256, of: "cloudfoundry/app", from: world.client)
                            #expect(image.config["architecture"] == "arm64")
                            let version = try await world.client.get("/api/v1/rootfs/tiny/1", as: "operator").json
                            let variants = version["versions"]?.array ?? []
                            let own = variants.first { $0["architecture"] == "arm64" }
                            #expect(variants.count == 2 && version["droplets"] == 1)
                            #expect(own?["layers"]?.array?.first?["digest"]?.string == image.layerDigests.first)
                        }
                        for accept in [oci, list] {
                            for reference in ["1", "current"] {
                                let index = try await get(reference, accept)
                                #expect(index.status == 200 && index["Content-Type"] == accept)
                                #expect(index["Vary"] == "Accept")
                                known.insert(try #require(index["Docker-Content-Digest"]))
                                let manifests = try #require(index.json["manifests"]?.array)
                                #expect(manifests.count == 2)
                                for manifest in manifests {
                                    let digest = manifest["digest"]?.string ?? ""
                                    let child = try await get(digest, nil)
                                    #expect(
                                        child.status == 200 && child["Content-Type"] == manifest["mediaType"]?.string)
                                    #expect(child.body.count == manifest["size"]?.integer.map { Int($0) })
                                }
                            }
                        }
                        #expect(known.count == 2, "one of each family, the same after a restart")
                        for digest in known {
                            let answer = try await get(digest, nil)
                            #expect(answer.status == 200 && Digest.of(answer.body).description == digest)
                            #expect(try await world.client.head(path + digest).status == 200)
                        }
                        // Who names no index gets the first architecture's image, as it was.
                        for accept in [nil, "application/vnd.oci.image.manifest.v1+json"] {
                            #expect(try await get("1", accept)["Docker-Content-Digest"] == single)
                        }
                        #expect(try await get("1", "*/*")["Content-Type"] == oci)
                        #expect(try await get(single, oci).status == 200)
                    }
                }
            }
        }
    }
}
