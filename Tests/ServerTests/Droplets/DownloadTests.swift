import JSON
import TestSupport
import Testing

extension ServerTests {
    @Suite("Droplets go out again", .serialized, .sharedServer)
    struct DownloadTests {
        @Test("GET gives the very bytes, HEAD their length, Range a part, by either hash; over TLS too")
        func get() async throws {
            let world = try SharedServer.world()
            let droplet = Droplet("download", noise: 300_000)
            try await world.upload(droplet, guid: "download")
            let size = droplet.bytes.count
            for hash in [droplet.sha256, droplet.sha1] {
                let path = "/droplets/download/\(hash)"
                let whole = try await world.client.get(path, as: "operator")
                #expect(whole.status == 200 && whole.body == droplet.bytes)
                #expect(whole["Content-Length"] == String(size) && whole["Content-Type"] == "application/octet-stream")
                let head = try await world.client.head(path, as: "operator")
                #expect(head.status == 200 && head["Content-Length"] == String(size) && head["ETag"] == whole["ETag"])
                for (range, expected) in [
                    ("bytes=0-99", 0..<100), ("bytes=-7", size - 7..<size), ("bytes=1000-", 1000..<size),
                ] {
                    let part = try await world.client.get(path, as: "operator", ["Range": range])
                    #expect(part.status == 206 && part.body == Array(droplet.bytes[expected]))
                    #expect(part["Content-Range"] == "bytes \(expected.lowerBound)-\(expected.upperBound - 1)/\(size)")
                }
                let beyond = try await world.client.get(path, as: "operator", ["Range": "bytes=\(size)-"])
                #expect(beyond.status == 416 && beyond["Content-Range"] == "bytes */\(size)")
                let unchanged = try await world.client.get(path, as: "operator", ["If-None-Match": whole["ETag"] ?? ""])
                #expect(unchanged.status == 304)
                let secure = try await world.server.request("GET", path, as: .operator)
                #expect(secure.status == 200 && secure.body == droplet.bytes)
            }
        }

        @Test("Of what only a part is in memory, all comes", arguments: [1000, 6000, 10_000, 40_000, 200_000])
        func partlyCached(size: Int) async throws {
            let world = try SharedServer.world()
            let droplet = Droplet("partly cached \(size)", noise: size)
            try await world.upload(droplet, guid: "partly")
            let path = "/droplets/partly/\(droplet.sha256)"
            for cached in [4096, 8192, 12288] {
                try world.store.forget(after: cached, filesOf: droplet.bytes.count)
                let plain = try await world.client.get(path, as: "operator")
                #expect(plain.status == 200 && plain.body == droplet.bytes)
                try world.store.forget(after: cached, filesOf: droplet.bytes.count)
                let secure = try await world.server.request("GET", path, as: .operator)
                #expect(secure.status == 200 && secure.body == droplet.bytes)
            }
        }

        @Test("A download goes on to its end though the droplet is removed meanwhile")
        func removedMeanwhile() async throws {
            let world = try SharedServer.world()
            let droplet = Droplet("removed meanwhile", noise: 24 << 20)
            try await world.upload(droplet, guid: "meanwhile")
            let path = "/droplets/meanwhile/\(droplet.sha256)"
            let download = try await RawConnection(port: world.client.port)
            defer { download.close() }
            try await download.send(world.client.head("GET", path, as: "operator", [:]))
            let begun = try await download.receive()
            #expect(try await world.client.send("DELETE", path, as: "operator").status == 204)
            let answer = try await Answer(from: download, begun: begun)
            #expect(answer.status == 200 && answer.body == droplet.bytes)
        }

        @Test("DELETE answers 204, and everything after it 404 with the controller's code")
        func delete() async throws {
            let world = try SharedServer.world()
            let droplet = Droplet("delete")
            try await world.upload(droplet, guid: "delete")
            let path = "/droplets/delete/\(droplet.sha256)"
            let deleted = try await world.client.send("DELETE", path, as: "operator")
            #expect(deleted.status == 204 && deleted.body.isEmpty)
            for method in ["GET", "DELETE", "HEAD"] {
                let answer = try await world.client.send(method, path, as: "operator")
                #expect(answer.status == 404)
                if method != "HEAD" {
                    #expect(answer.json["code"] == 10010 && answer.json["description"]?.string?.isEmpty == false)
                }
            }
        }

        @Test(
            "What was never there is 404, too",
            arguments: [
                "/droplets/never/" + String(repeating: "0", count: 64),
                "/droplets/never/" + String(repeating: "0", count: 40),
                "/droplets/never/latest", "/droplets/never/..", "/droplets/never/%2e%2e%2f%2e%2e",
            ])
        func missing(path: String) async throws {
            for method in ["GET", "HEAD", "DELETE"] {
                let answer = try await SharedServer.world().client.send(method, path, as: "operator")
                #expect(answer.status == 404, "\(method): \(answer.text)")
                if method != "HEAD" { #expect(answer.json["code"] == 10010) }
            }
        }

        @Test("Other methods are 405 and say which there are")
        func methods() async throws {
            let path = "/droplets/a/" + String(repeating: "0", count: 64)
            for method in ["POST", "PATCH", "OPTIONS"] {
                let answer = try await SharedServer.world().client.send(method, path, as: "operator", body: [])
                #expect(answer.status == 405 && answer["Allow"]?.contains("PUT") == true)
                #expect(answer.json["description"]?.string != nil)
            }
        }
    }
}
