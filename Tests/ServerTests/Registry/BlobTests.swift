import JSON
import OCI
import TestSupport
import Testing

extension ServerTests {
    @Suite("Blobs", .serialized, .sharedServer)
    struct BlobTests {
        private struct Blob {
            let path: String
            let digest: String
            let bytes: [UInt8]
        }

        /// Every kind of blob that an image has: config, rootfs, lifecycle and droplet layer.
        private static func blobs(_ world: World) async throws -> [Blob] {
            let droplet = Droplet("blobs", noise: 300_000)
            try await world.upload(droplet, guid: "blobs")
            let image = try await Image(droplet.sha256, of: "cloudfoundry/blobs", from: world.client)
            #expect(image.layers.count == 3)
            var blobs: [Blob] = []
            for digest in [image.configDigest] + image.layerDigests {
                let path = "/v2/cloudfoundry/blobs/blobs/\(digest)"
                let answer = try await world.client.get(path)
                #expect(answer.status == 200 && Digest.of(answer.body).description == digest)
                blobs.append(Blob(path: path, digest: digest, bytes: answer.body))
            }
            return blobs
        }

        @Test("Config, rootfs, lifecycle and droplet layers come whole, with their digest")
        func whole() async throws {
            let world = try SharedServer.world()
            for blob in try await Self.blobs(world) {
                for method in ["GET", "HEAD"] {
                    let answer = try await world.client.send(method, blob.path)
                    #expect(answer.status == 200)
                    #expect(answer["Docker-Content-Digest"] == blob.digest)
                    #expect(answer["Content-Length"] == String(blob.bytes.count))
                    #expect(answer["Accept-Ranges"] == "bytes")
                    #expect(answer["Content-Type"] == "application/octet-stream")
                    #expect(answer["ETag"] == "\"\(blob.digest)\"")
                    #expect(method == "HEAD" || answer.body == blob.bytes)
                }
            }
        }

        @Test("Over TLS the same bytes come, whole and in part")
        func secure() async throws {
            let world = try SharedServer.world()
            for blob in try await Self.blobs(world) {
                let whole = try await world.server.request("GET", blob.path)
                #expect(whole.status == 200 && whole.body == blob.bytes)
                let middle = try await world.server.request("GET", blob.path, headers: ["Range": "bytes=10-19"])
                #expect(middle.status == 206 && middle.body == Array(blob.bytes[10..<20]))
                let rest = try await world.server.request("GET", blob.path, headers: ["Range": "bytes=100-"])
                #expect(rest.status == 206 && rest.body == Array(blob.bytes[100...]))
                let head = try await world.server.request("HEAD", blob.path)
                #expect(head.status == 200 && head.header("Content-Length") == String(blob.bytes.count))
            }
        }

        @Test("A range gives exactly its bytes")
        func range() async throws {
            let world = try SharedServer.world()
            for blob in try await Self.blobs(world) {
                let size = blob.bytes.count
                for (range, expected) in [
                    ("bytes=0-0", 0..<1), ("bytes=0-", 0..<size), ("bytes=5-9", 5..<10),
                    ("bytes=\(size - 1)-", size - 1..<size),
                    ("bytes=-1", size - 1..<size), ("bytes=-100", size - 100..<size), ("bytes=-\(size * 2)", 0..<size),
                    ("bytes=7-\(size * 2)", 7..<size), ("bytes=7-99999999999999999999", 7..<size),
                ] {
                    let answer = try await world.client.get(blob.path, ["Range": range])
                    #expect(answer.status == 206, "\(range)")
                    #expect(
                        answer["Content-Range"] == "bytes \(expected.lowerBound)-\(expected.upperBound - 1)/\(size)")
                    #expect(answer.body == Array(blob.bytes[expected]), "\(range)")
                    #expect(answer["Docker-Content-Digest"] == blob.digest)
                }
            }
        }

        @Test("A range beyond the end is 416 with the size")
        func unsatisfiable() async throws {
            let world = try SharedServer.world()
            for blob in try await Self.blobs(world) {
                for range in ["bytes=\(blob.bytes.count)-", "bytes=99999999999999999999-", "bytes=-0"] {
                    let answer = try await world.client.get(blob.path, ["Range": range])
                    #expect(answer.status == 416, "\(range)")
                    #expect(answer["Content-Range"] == "bytes */\(blob.bytes.count)")
                    #expect(answer.body.isEmpty)
                }
            }
        }

        @Test(
            "What is no range is answered with the whole",
            arguments: [
                "bytes=9-5", "bytes=a-b", "bytes", "lines=1-2", "bytes=0-1,a", "bytes=--5", "bytes=", "bytes=-",
            ])
        func noRange(range: String) async throws {
            let world = try SharedServer.world()
            for blob in try await Self.blobs(world) {
                let answer = try await world.client.get(blob.path, ["Range": range])
                #expect(answer.status == 200 && answer.body == blob.bytes)
            }
        }

        @Test("Several ranges come as the parts of one answer, over TLS as well")
        func ranges() async throws {
            let world = try SharedServer.world()
            let range = ["Range": "bytes=0-1,5-6"]
            for blob in try await Self.blobs(world) {
                let plain = try await world.client.get(blob.path, range)
                let secure = try await world.server.request("GET", blob.path, headers: range)
                for (status, type, body) in [
                    (plain.status, plain["Content-Type"], plain.body),
                    (secure.status, secure.header("Content-Type"), secure.body),
                ] {
                    #expect(status == 206)
                    let boundary = try #require(type?.split(separator: "boundary=").last)
                    #expect(type?.hasPrefix("multipart/byteranges; boundary=") == true)
                    var expected: [UInt8] = []
                    for (first, last) in [(0, 1), (5, 6)] {
                        let head = """
                            \r\n--\(boundary)\r\nContent-Type: application/octet-stream\r\n\
                            Content-Range: bytes \(first)-\(last)/\(blob.bytes.count)\r\n\r\n
                            """
                        expected += Array(head.utf8) + blob.bytes[first...last]
                    }
                    expected += Array("\r\n--\(boundary)--\r\n".utf8)
                    // The line end before the first boundary may be left out.
                    #expect(body == expected || body == Array(expected.dropFirst(2)))
                }
            }
        }

        @Test("If-None-Match gives 304, If-Range the whole of something else")
        func conditions() async throws {
            let world = try SharedServer.world()
            for blob in try await Self.blobs(world) {
                let tag = "\"\(blob.digest)\""
                let unchanged = try await world.client.get(blob.path, ["If-None-Match": tag])
                #expect(unchanged.status == 304 && unchanged.body.isEmpty && unchanged["ETag"] == tag)
                let part = try await world.client.get(blob.path, ["If-Range": tag, "Range": "bytes=0-4"])
                #expect(part.status == 206 && part.body == Array(blob.bytes[..<5]))
                let other = try await world.client.get(blob.path, ["If-Range": "\"other\"", "Range": "bytes=0-4"])
                #expect(other.status == 200 && other.body == blob.bytes)
            }
        }

        @Test("What is not there is BLOB_UNKNOWN; so is what only another app has, and the droplet as it was sent")
        func missing() async throws {
            let world = try SharedServer.world()
            let mine = Droplet("my blob")
            let theirs = Droplet("their blob")
            try await world.upload(mine, guid: "my-app")
            try await world.upload(theirs, guid: "their-app")
            let image = try await Image(theirs.sha256, of: "cloudfoundry/their-app", from: world.client)
            let layer = try #require(image.layerDigests.last)
            let strangers = [
                layer, image.configDigest, "sha256:\(mine.sha256)", "sha256:" + String(repeating: "0", count: 64),
                "sha512:" + String(repeating: "0", count: 128),
            ]
            for repository in ["cloudfoundry/my-app", "cistern/tiny"] {
                for digest in strangers {
                    let path = "/v2/\(repository)/blobs/\(digest)"
                    let answer = try await world.client.get(path)
                    #expect(answer.status == 404 && answer.registryCode == "BLOB_UNKNOWN", "\(digest)")
                    #expect(try await world.client.head(path).status == 404)
                }
            }
            for repository in ["cloudfoundry/nobody", "a/b", "cistern/nothing"] {
                let answer = try await world.client.get("/v2/\(repository)/blobs/\(layer)")
                #expect(answer.status == 404)
                #expect(["BLOB_UNKNOWN", "NAME_UNKNOWN"].contains(answer.registryCode))
            }
        }

        @Test("A removed droplet's manifest and own layer are gone at once")
        func removed() async throws {
            let world = try SharedServer.world()
            let droplet = Droplet("to be removed")
            try await world.upload(droplet, guid: "removed")
            let image = try await Image(droplet.sha256, of: "cloudfoundry/removed", from: world.client)
            try await image.verifyLayers(from: world.client)
            let path = "/droplets/removed/\(droplet.sha256)"
            #expect(try await world.client.send("DELETE", path, as: "operator").status == 204)
            for reference in [droplet.sha256, droplet.sha1, image.digest] {
                #expect(try await world.client.get("/v2/cloudfoundry/removed/manifests/\(reference)").status == 404)
            }
            for digest in [image.configDigest, try #require(image.layerDigests.last)] {
                #expect(try await world.client.get("/v2/cloudfoundry/removed/blobs/\(digest)").status == 404)
            }
        }
    }
}
