import JSON
import TestSupport
import Testing

extension ServerTests {
    @Suite("Names, tags and digests outside the grammar", .serialized, .sharedServer)
    struct GrammarTests {
        private static let zeros = "sha256:" + String(repeating: "0", count: 64)
        private static let upload = "00000000-0000-4000-8000-000000000000"
        private static let long = String(repeating: "a", count: 7000)
        private static let names = [
            "A", "a..b", "a/../b", "..", "../../etc/passwd", "%2e%2e/%2e%2e/etc", "%2E%2E", "a/%2e%2e/b",
            "a%2f%2e%2e%2fb", "a%00b",
            "%00", "a//b", "/a", "a/", "-a", "a-", "a_/b", "a___b", "a.b.", ".a", "_a", "a%20b", "a\\b", "%ff%fe",
            "%e2%82%ac",
            "cloudfoundry/%2e%2e/x", "cloudfoundry/a%0ab", "cloudfoundry/_a", "_manifests", "a/_tags/b", "a:b", "a@b",
            "a%3ab", "a%",
            "a%2", "a%zz", long, "a/" + String(long.prefix(300)),
        ]

        @Test("A name is refused with NAME_INVALID", arguments: names)
        func name(_ name: String) async throws {
            let client = try SharedServer.world().client
            let zeros = Self.zeros
            for (method, rest) in [
                ("GET", "manifests/latest"), ("HEAD", "manifests/latest"), ("PUT", "manifests/latest"),
                ("DELETE", "manifests/latest"), ("GET", "tags/list"), ("HEAD", "tags/list"), ("GET", "blobs/\(zeros)"),
                ("HEAD", "blobs/\(zeros)"), ("DELETE", "blobs/\(zeros)"), ("GET", "referrers/\(zeros)"),
                ("POST", "blobs/uploads/"), ("POST", "blobs/uploads/?digest=\(zeros)"),
                ("PATCH", "blobs/uploads/\(Self.upload)"), ("PUT", "blobs/uploads/\(Self.upload)?digest=\(zeros)"),
                ("DELETE", "blobs/uploads/\(Self.upload)"),
            ] {
                let isWrite = ["PUT", "POST", "PATCH"].contains(method)
                let answer = try await client.send(
                    method, "/v2/\(name)/\(rest)", as: "operator", body: isWrite ? [1] : nil)
                #expect(answer.status == 400, "\(method) \(rest): \(answer.text)")
                #expect(method == "HEAD" || answer.registryCode == "NAME_INVALID", "\(rest): \(answer.text)")
                #expect(answer.body.count < 2000, "a long name is not sent back")
            }
        }

        @Test(
            "A tag is refused with NAME_INVALID, for which the specification has no code of its own, and nobody finds it",
            arguments: [
                ".", "..", "-a", ".a", "a%2fb", "%2e%2e", "a%00", "%00", "a%20b", "a%0d%0ab", "%c3%a4", "%ff", "+a",
                "a%252e",
                String(repeating: "a", count: 129), long,
            ])
        func tag(_ tag: String) async throws {
            let client = try SharedServer.world().client
            for name in ["cloudfoundry/a", "somebody/else"] {
                let path = "/v2/\(name)/manifests/\(tag)"
                let put = try await client.send("PUT", path, as: "operator", body: [1])
                #expect(put.status == 400 && put.registryCode == "NAME_INVALID", "\(put.text)")
                let answer = try await client.get(path)
                #expect(answer.status == 404 && answer.registryCode == "MANIFEST_UNKNOWN", "\(answer.text)")
                #expect(answer.body.count < 2000, "a long tag is not sent back")
                #expect(try await client.head(path).status == 404)
                #expect(try await client.get(path, as: nil).status == 401, "strangers are asked who they are first")
            }
        }

        @Test(
            "A digest is refused with DIGEST_INVALID",
            arguments: [
                "sha256:", "sha256:abc", "sha256:" + String(repeating: "g", count: 64),
                "sha256:" + String(repeating: "A", count: 64),
                "sha256:" + String(repeating: "0", count: 63), "sha256:" + String(repeating: "0", count: 65),
                "sha1:" + String(repeating: "0", count: 40),
                "md5:" + String(repeating: "0", count: 32), ":", "sha256:..", "sha256:%2e%2e%2f%2e%2e", "sha256:%00",
                "sha256%3a" + String(repeating: "0", count: 63), "sha256:" + long,
            ])
        func digest(_ digest: String) async throws {
            for kind in ["blobs", "manifests"] {
                let answer = try await SharedServer.world().client.get("/v2/cloudfoundry/a/\(kind)/\(digest)")
                #expect(answer.status == 400 && answer.registryCode == "DIGEST_INVALID", "\(kind): \(answer.text)")
            }
        }

        @Test("A blob has no tag")
        func blobByTag() async throws {
            let answer = try await SharedServer.world().client.get("/v2/cloudfoundry/a/blobs/latest")
            #expect(answer.status == 400 && answer.registryCode == "DIGEST_INVALID")
        }

        @Test(
            "Names of 10 KB are refused before anything is looked up",
            arguments: ["/v2/%@/tags/list", "/droplets/%@/x", "/api/v1/rootfs/%@"])
        func huge(pattern: String) async throws {
            let path = pattern.replacing("%@", with: String(repeating: "a", count: 10_240))
            let answer = try await SharedServer.world().client.get(path, as: "operator")
            #expect([400, 414].contains(answer.status), "\(answer.text)")
            #expect(answer.body.count < 2000)
        }

        @Test(
            "A method that an endpoint does not have is UNSUPPORTED, and the answer names those that it has",
            arguments: [
                ("POST", "/v2/", "GET, HEAD"), ("PUT", "/v2/", "GET, HEAD"), ("LOCK", "/v2/", "GET, HEAD"),
                ("PATCH", "/v2/a/manifests/b", "GET, HEAD, PUT, DELETE"),
                ("POST", "/v2/a/manifests/b", "GET, HEAD, PUT, DELETE"),
                ("PUT", "/v2/a/blobs/\(zeros)", "GET, HEAD, DELETE"),
                ("POST", "/v2/a/blobs/\(zeros)", "GET, HEAD, DELETE"),
                ("OPTIONS", "/v2/a/tags/list", "GET, HEAD"), ("POST", "/v2/a/tags/list", "GET, HEAD"),
                ("DELETE", "/v2/a/tags/list", "GET, HEAD"), ("PUT", "/v2/a/referrers/\(zeros)", "GET, HEAD"),
                ("DELETE", "/v2/_catalog", "GET, HEAD"), ("GET", "/v2/a/blobs/uploads/", "POST"),
                ("PUT", "/v2/a/blobs/uploads/", "POST"),
                ("POST", "/v2/a/blobs/uploads/\(upload)", "GET, HEAD, PATCH, PUT, DELETE"),
            ])
        func methods(method: String, path: String, allow: String) async throws {
            let answer = try await SharedServer.world().client.send(method, path, as: "operator", body: [])
            #expect(answer.status == 405 && answer.registryCode == "UNSUPPORTED", "\(answer.text)")
            #expect(answer["Allow"] == allow)
            let anonymous = try await SharedServer.world().client.send(method, path, as: nil, body: [])
            #expect(anonymous.status == 401, "strangers are asked who they are first")
        }

        @Test(
            "Paths that are no endpoint are 404",
            arguments: [
                "/v2/_catalogue", "/v2/a", "/v2/a/b", "/v2/a/tags/other", "/v2/a/tags/", "/v3/", "/v2x",
            ])
        func noEndpoint(path: String) async throws {
            #expect(try await SharedServer.world().client.get(path).status == 404)
        }

        @Test("None of it changed anything or failed inside")
        func untouched() async throws {
            let world = try SharedServer.world()
            for name in Self.names { _ = try await world.client.get("/v2/\(name)/tags/list") }
            #expect(try await world.client.get("/readyz", as: nil).status == 200)
            #expect(!world.log.contains(#""status":5"#), "no request failed inside")
            let lines = world.log.split(separator: "\n").filter { $0.hasPrefix("{") }
            #expect(lines.count > Self.names.count, "every request is logged")
            for line in lines {
                #expect(throws: Never.self) { try JSONValue(parsing: String(line)) }
                #expect(line.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }, "nothing that moves a terminal's cursor")
            }
            #expect(try await world.client.get("/api/v1/droplets", as: "operator").json["droplets"] == [])
            let catalog = try await world.client.get("/v2/_catalog", as: "operator")
            #expect(catalog.json["repositories"] == ["cistern/tiny"])
        }
    }
}
