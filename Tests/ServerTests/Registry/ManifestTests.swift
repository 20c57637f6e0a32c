import JSON
import OCI
import TestSupport
import Testing

extension ServerTests {
    @Suite("Manifests", .serialized, .sharedServer)
    struct ManifestTests {
        private static let oci = "application/vnd.oci.image.manifest.v1+json"
        private static let docker = "application/vnd.docker.distribution.manifest.v2+json"

        @Test("By tag, pinned tag, SHA-1 and digest it is one and the same document")
        func names() async throws {
            let world = try SharedServer.world()
            let droplet = Droplet("names")
            try await world.upload(droplet, guid: "names")
            let image = try await Image(droplet.sha256, of: "cloudfoundry/names", from: world.client)
            for reference in ["\(droplet.sha256)-1", droplet.sha1, "\(droplet.sha1)-1", image.digest] {
                let same = try await Image(reference, of: "cloudfoundry/names", from: world.client)
                #expect(same.digest == image.digest && same.manifest == image.manifest)
            }
            let other = try await Image("\(droplet.sha256)-2", of: "cloudfoundry/names", from: world.client)
            #expect(other.digest != image.digest)
            #expect(other.layerDigests.dropFirst() == image.layerDigests.dropFirst(), "only the rootfs differs")
            try await image.verifyLayers(from: world.client)
            try await other.verifyLayers(from: world.client)
        }

        @Test("HEAD answers as GET does, without the body", arguments: ["tag", "digest"])
        func head(reference: String) async throws {
            let world = try SharedServer.world()
            let droplet = Droplet("head")
            try await world.upload(droplet, guid: "head")
            let image = try await Image(droplet.sha256, of: "cloudfoundry/head", from: world.client)
            let path = "/v2/cloudfoundry/head/manifests/\(reference == "tag" ? droplet.sha256 : image.digest)"
            let get = try await world.client.get(path)
            let head = try await world.client.head(path)
            #expect(head.status == 200)
            #expect(head["Content-Length"] == String(get.body.count))
            for name in [
                "Content-Type", "Docker-Content-Digest", "ETag", "Content-Length", "Docker-Distribution-Api-Version",
            ] {
                #expect(head[name] == get[name] && get[name] != nil, "\(name)")
            }
        }

        @Test(
            "OCI's media types are the default, Docker's are for who takes no others",
            arguments: [
                ([String](), oci), (["*/*"], oci), ([oci], oci), (["\(docker), \(oci)"], oci), ([docker], docker),
                (["\(docker), */*"], oci), (["application/*"], oci), (["text/html"], oci),
                (["application/vnd.docker.distribution.manifest.list.v2+json, \(docker)"], docker),
                (["application/vnd.docker.distribution.manifest.list.v2+json,\(docker);q=0.9"], docker),
                ([docker.uppercased()], docker),
            ])
        func mediaType(accept: [String], expected: String) async throws {
            let world = try SharedServer.world()
            let droplet = Droplet("types")
            try await world.upload(droplet, guid: "types")
            let path = "/v2/cloudfoundry/types/manifests/\(droplet.sha256)"
            let headers = accept.isEmpty ? [:] : ["Accept": accept[0]]
            let answer = try await world.client.get(path, headers)
            #expect(answer["Content-Type"] == expected)
            #expect(answer.json["mediaType"]?.string == expected)
            #expect(answer["Docker-Content-Digest"] == Digest.of(answer.body).description)
            #expect(answer["Vary"] == "Accept", "a cache between must not give one client the other's document")
            let family = expected == Self.oci ? "application/vnd.oci.image" : "application/vnd.docker"
            #expect(answer.json["config"]?["mediaType"]?.string?.hasPrefix(family) == true)
            let layers = try #require(answer.json["layers"]?.array)
            #expect(layers.count == 3)
            for layer in layers {
                #expect(layer["mediaType"]?.string?.hasPrefix(family) == true)
            }
            let again = try await world.client.get("/v2/cloudfoundry/types/manifests/\(Digest.of(answer.body))")
            #expect(
                again.body == answer.body && again["Content-Type"] == expected, "by digest the type goes with the bytes"
            )
        }

        @Test("The config says what a runtime needs to know")
        func config() async throws {
            let world = try SharedServer.world()
            let droplet = Droplet("config")
            try await world.upload(droplet, guid: "config")
            let image = try await Image(droplet.sha256, of: "cloudfoundry/config", from: world.client)
            let config = try #require(image.config["config"])
            #expect(image.config["os"] == "linux" && image.config["architecture"] == "amd64")
            #expect(config["User"] == "2000:2000" && config["WorkingDir"] == "/home/vcap/app")
            #expect(config["Entrypoint"] == ["/lifecycle/launch"])
            #expect(image.config["rootfs"]?["diff_ids"]?.array?.count == image.layers.count)
            #expect(image.config["history"]?.array?.filter { $0["empty_layer"] == nil }.count == image.layers.count)
        }

        @Test("What a client has already is not sent again")
        func notModified() async throws {
            let world = try SharedServer.world()
            let droplet = Droplet("cached")
            try await world.upload(droplet, guid: "cached")
            let path = "/v2/cloudfoundry/cached/manifests/\(droplet.sha256)"
            let tag = try #require(try await world.client.get(path)["ETag"])
            for (condition, status) in [
                (tag, 304), ("W/\(tag)", 304), ("\"x\", \(tag)", 304), ("*", 304), ("\"x\"", 200),
            ] {
                for method in ["GET", "HEAD"] {
                    let answer = try await world.client.send(method, path, ["If-None-Match": condition])
                    #expect(answer.status == status, "\(method) \(condition)")
                    #expect(answer["Docker-Content-Digest"] != nil && answer["ETag"] == tag)
                    if status == 304 { #expect(answer.body.isEmpty) }
                }
            }
        }

        @Test(
            "What is not there is MANIFEST_UNKNOWN",
            arguments: [
                "latest", String(repeating: "0", count: 64), String(repeating: "0", count: 40),
                "sha256:" + String(repeating: "0", count: 64), "sha512:" + String(repeating: "0", count: 128),
            ])
        func missing(reference: String) async throws {
            let world = try SharedServer.world()
            let droplet = Droplet("missing")
            try await world.upload(droplet, guid: "missing")
            for repository in [
                "cloudfoundry/missing", "cloudfoundry/never-seen", "somebody/else", "cistern/no-such-stack",
            ] {
                let answer = try await world.client.get("/v2/\(repository)/manifests/\(reference)")
                #expect(answer.status == 404)
                #expect(["MANIFEST_UNKNOWN", "NAME_UNKNOWN"].contains(answer.registryCode))
                #expect(try await world.client.head("/v2/\(repository)/manifests/\(reference)").status == 404)
            }
            for version in ["3", "current"] {
                let answer = try await world.client.get(
                    "/v2/cloudfoundry/missing/manifests/\(droplet.sha256)-\(version)")
                #expect(answer.status == 404 && answer.registryCode == "MANIFEST_UNKNOWN", "version \(version)")
            }
        }

        @Test("Another app's image is not there under this app's name")
        func otherApp() async throws {
            let world = try SharedServer.world()
            let droplet = Droplet("mine")
            try await world.upload(droplet, guid: "mine")
            try await world.upload(Droplet("theirs"), guid: "theirs")
            let image = try await Image(droplet.sha256, of: "cloudfoundry/mine", from: world.client)
            for reference in [droplet.sha256, image.digest] {
                let answer = try await world.client.get("/v2/cloudfoundry/theirs/manifests/\(reference)")
                #expect(answer.status == 404 && answer.registryCode == "MANIFEST_UNKNOWN")
            }
        }

        @Test("A layer's or config's digest is no manifest, a manifest's is no blob")
        func confusion() async throws {
            let world = try SharedServer.world()
            let droplet = Droplet("confusion")
            try await world.upload(droplet, guid: "confusion")
            let repository = "cloudfoundry/confusion"
            let image = try await Image(droplet.sha256, of: repository, from: world.client)
            for digest in image.layerDigests + [image.configDigest, "sha256:" + droplet.sha256] {
                let answer = try await world.client.get("/v2/\(repository)/manifests/\(digest)")
                #expect(answer.status == 404 && answer.registryCode == "MANIFEST_UNKNOWN")
            }
            let answer = try await world.client.get("/v2/\(repository)/blobs/\(image.digest)")
            #expect(answer.status == 404 && answer.registryCode == "BLOB_UNKNOWN")
        }
    }

    @Suite("Base images", .serialized, .sharedServer)
    struct BaseImageTests {
        @Test("cistern/<stack> has each rootfs version as an image of its own, and the promoted one as current")
        func versions() async throws {
            let client = try SharedServer.world().client
            let one = try await Image("1", of: "cistern/tiny", from: client)
            let two = try await Image("2", of: "cistern/tiny", from: client)
            let current = try await Image("current", of: "cistern/tiny", from: client)
            #expect(one.digest == current.digest && one.digest != two.digest)
            for image in [one, two] {
                #expect(image.layers.count == 1)
                let layer = try #require(image.layerDigests.first)
                let answer = try await client.get("/v2/cistern/tiny/blobs/\(layer)")
                #expect(answer.status == 200 && Digest.of(answer.body).description == layer)
                #expect(try await Image(image.digest, of: "cistern/tiny", from: client).manifest == image.manifest)
            }
            let tags = try await client.get("/v2/cistern/tiny/tags/list")
            #expect(tags.json["tags"]?.array?.compactMap(\.string).contains("1") == true, "\(tags.text)")
        }
    }
}
