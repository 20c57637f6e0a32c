import Foundation
import JSON
import OCI
import TestSupport
import Testing

extension ServerTests {
    @Suite("Tokens", .serialized, .sideBySide)
    struct TokenTests {
        private static let users = [
            "ci": "repositories: {\"team/**\": [push], \"base/*\": [pull]}", "none": "repositories: {\"x\": [pull]}",
        ]

        private static func with(_ arguments: [String] = [], _ body: (World) async throws -> Void) async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                try await World.with(data: data) { _ in }
                try await World.add(users, to: data)
                let policy = try String(contentsOfFile: data + "/policy.yaml", encoding: .utf8)
                try Data((policy + "anonymous:\n  repositories: {\"public/**\": [pull]}\n").utf8)
                    .write(to: URL(fileURLWithPath: data + "/policy.yaml"))
                try await World.with(data: data, arguments, body)
            }
        }

        private static func token(_ world: World, _ scopes: String, as user: String? = "ci") async throws -> String {
            let query = scopes.split(separator: " ").map { "&scope=\($0)" }.joined()
            let answer = try await world.client.get("/token?service=cistern\(query)", as: user)
            try #require(answer.status == 200, "\(answer.text)")
            #expect(answer["Cache-Control"] == "no-store" && answer.json["expires_in"]?.integer == 300)
            let token = try #require(answer.json["token"]?.string)
            #expect(answer.json["access_token"]?.string == token)
            return token
        }

        private static func bearer(_ token: String) -> [String: String] { ["Authorization": "Bearer \(token)"] }

        @Test(
            "A 401 leads to a token: at /v2/ to nothing else, elsewhere to a password too, each in a field of its own")
        func challenges() async throws {
            let rows: [(method: String, path: String, scope: String?)] = [
                ("GET", "/v2/", nil), ("GET", "/v2/a/b/manifests/x", "repository:a/b:pull"),
                ("HEAD", "/v2/a/b/manifests/x", "repository:a/b:pull"),
                ("PUT", "/v2/a/manifests/x", "repository:a:pull,push"),
                ("POST", "/v2/a/blobs/uploads/", "repository:a:pull,push"),
                (
                    "POST", "/v2/a/blobs/uploads/?mount=sha256:\(String(repeating: "a", count: 64))&from=b/c",
                    "repository:a:pull,push repository:b/c:pull"
                ),
                ("POST", "/v2/a/blobs/uploads/?from=%22B", "repository:a:pull,push"),
                ("GET", "/v2/a/blobs/uploads/x", "repository:a:pull,push"),
                ("PATCH", "/v2/a/blobs/uploads/x", "repository:a:pull,push"),
                ("DELETE", "/v2/a/blobs/uploads/x", "repository:a:delete"),
                ("DELETE", "/v2/a/manifests/x", "repository:a:delete"), ("GET", "/v2/_catalog", "registry:catalog:*"),
                ("GET", "/v2/A/manifests/x", nil),
            ]
            try await Self.with { world async throws in
                let realm = #"Bearer realm="http://127.0.0.1:\#(world.client.port)/token",service="cistern""#
                for row in rows {
                    let answer = try await world.client.send(row.method, row.path, as: nil)
                    #expect(answer.status == 401)
                    let values = answer.headers.filter { $0.name == "www-authenticate" }.map(\.value)
                    let token = realm + (row.scope.map { ",scope=\"\($0)\"" } ?? "")
                    #expect(values == [token] + (row.path == "/v2/" ? [] : [#"Basic realm="cistern""#]), "\(row)")
                }
                let bad = try await world.client.get("/v2/a/tags/list", as: nil, Self.bearer("x.y.z"))
                #expect(bad.status == 401 && bad.registryCode == "UNAUTHORIZED")
                #expect(bad["WWW-Authenticate"]?.contains(#",scope="repository:a:pull",error="invalid_token""#) == true)
                // What a client calls the server must not end the quotes.
                let strange = try await world.client.get("/v2/", as: nil, ["Host": "a\",error=\"x"])
                #expect(strange["WWW-Authenticate"]?.contains("error") != true)
                for path in ["/api/v1/gc", "/token"] {
                    let answer = try await world.client.get(path, as: nil, Self.bearer(try await Self.token(world, "")))
                    #expect(answer.status == 401 && answer["WWW-Authenticate"] == #"Basic realm="cistern""#)
                }
            }
        }

        @Test("A token does what it was fetched for and nothing else; what its user may not do stays 403 or unknown")
        func use() async throws {
            let digest = "sha256:" + String(repeating: "a", count: 64)
            let rows: [(user: String?, scopes: String, method: String, path: String, status: Int)] = [
                ("ci", "", "GET", "/v2/", 200), (nil, "", "GET", "/v2/", 401),
                ("ci", "repository:team/a:pull", "GET", "/v2/team/a/tags/list", 404),
                ("ci", "", "GET", "/v2/team/a/tags/list", 401),
                ("ci", "repository:team/b:pull", "GET", "/v2/team/a/tags/list", 401),
                ("ci", "repository:other:pull", "GET", "/v2/other/tags/list", 404),
                ("ci", "repository:team/a:pull", "POST", "/v2/team/a/blobs/uploads/", 401),
                ("ci", "repository:team/a:pull,push", "POST", "/v2/team/a/blobs/uploads/", 202),
                ("ci", "repository:team/a:*", "POST", "/v2/team/a/blobs/uploads/", 202),
                ("ci", "repository:base/a:pull,push", "POST", "/v2/base/a/blobs/uploads/", 403),
                ("ci", "repository:team/a:push", "GET", "/v2/team/a/tags/list", 401),
                ("ci", "repository:team/a:delete", "DELETE", "/v2/team/a/manifests/x", 404),
                ("ci", "repository:team/a:delete", "DELETE", "/v2/team/a/blobs/\(digest)", 404),
                ("ci", "repository:team/a:push", "DELETE", "/v2/team/a/manifests/x", 404),
                ("ci", "repository:team/a:delete", "PUT", "/v2/team/a/manifests/x", 401),
                ("ci", "repository:team/a:pull", "DELETE", "/v2/team/a/manifests/x", 401),
                ("ci", "repository:team/a:pull", "GET", "/v2/team/a/referrers/\(digest)", 200),
                ("ci", "registry:catalog:*", "GET", "/v2/_catalog", 200), ("ci", "", "GET", "/v2/_catalog", 401),
                ("none", "repository:team/a:pull", "GET", "/v2/team/a/tags/list", 404),
                (nil, "repository:public/x:pull", "GET", "/v2/public/x/tags/list", 404),
                (nil, "", "GET", "/v2/public/x/tags/list", 401),
                (nil, "repository:team/a:pull", "GET", "/v2/team/a/tags/list", 401),
                (nil, "registry:catalog:*", "GET", "/v2/_catalog", 401),
                ("operator", "repository:team/a:*", "GET", "/api/v1/gc", 401),
                ("operator", "repository:team/a:*", "GET", "/droplets/a/b", 401),
            ]
            try await Self.with { world async throws in
                for row in rows {
                    let token = try await Self.token(world, row.scopes, as: row.user)
                    let answer = try await world.client.send(
                        row.method, row.path, as: nil, Self.bearer(token), body: row.method == "PUT" ? [] : nil)
                    #expect(answer.status == row.status, "\(row): \(answer.text)")
                    let isLess = answer["WWW-Authenticate"]?.contains("insufficient_scope") ?? false
                    #expect(isLess == (row.status == 401 && row.path.hasPrefix("/v2/")), "\(row)")
                }
            }
        }

        @Test("A blob is mounted by a token for both repositories, and sent again by one for its target alone")
        func mount() async throws {
            try await Self.with { world async throws in
                let bytes = Array("a blob".utf8)
                let digest = Digest.of(bytes, .sha256)
                let pushed = try await world.client.send(
                    "POST", "/v2/team/a/blobs/uploads/?digest=\(digest)", as: nil,
                    Self.bearer(try await Self.token(world, "repository:team/a:push")), body: bytes)
                #expect(pushed.status == 201, "\(pushed.text)")
                for (scopes, status) in [
                    ("repository:team/b:pull,push", 202), ("repository:team/b:pull,push repository:team/a:pull", 201),
                ] {
                    let answer = try await world.client.send(
                        "POST", "/v2/team/b/blobs/uploads/?mount=\(digest)&from=team/a", as: nil,
                        Self.bearer(try await Self.token(world, scopes)), body: [])
                    #expect(answer.status == status, "\(scopes): \(answer.text)")
                }
            }
        }

        @Test(
            "By POST as well, with name and password in the form; what is wrong is said, and nobody learns a password")
        func form() async throws {
            try await Self.with { world async throws in
                let good = "grant_type=password&service=cistern&client_id=x&access_type=offline"
                let password = "a password of ci".replacing(" ", with: "+")
                let rows: [(form: String, status: Int, user: String?)] = [
                    (
                        "\(good)&scope=repository:team/a:pull%20repository:team/b:pull&username=ci&password=\(password)",
                        200, "ci"
                    ),
                    ("\(good)&scope=repository:public/x:pull&username=&password=", 200, nil), (good, 200, nil),
                    ("\(good)&username=ci&password=wrong", 401, nil), ("\(good)&username=ci", 401, nil),
                    ("grant_type=refresh_token&refresh_token=x&service=cistern", 400, nil), ("", 400, nil),
                    ("{\"grant_type\":\"password\"}", 400, nil),
                    ("grant_type=password&service=other", 400, nil), ("\(good)&username=%zz", 400, nil),
                    ("\(good)&x=" + String(repeating: "x", count: 20_000), 413, nil),
                ]
                for row in rows {
                    let answer = try await world.client.send(
                        "POST", "/token", as: nil, ["Content-Type": "application/x-www-form-urlencoded"],
                        body: Array(row.form.utf8))
                    #expect(answer.status == row.status, "\(row): \(answer.text)")
                    guard row.status == 200 else {
                        #expect(answer.registryCode != nil && answer.json["errors"] != nil, "\(row)")
                        continue
                    }
                    #expect(answer.json["refresh_token"] == nil)
                    let token = try #require(answer.json["access_token"]?.string)
                    let ping = try await world.client.get("/v2/", as: nil, Self.bearer(token))
                    #expect(ping.status == (row.user == nil ? 401 : 200), "\(row)")
                    #expect(!world.log.contains(token), "a token is in the log")
                }
                #expect(!world.log.contains(password))
                for query in ["service=other", "scope=" + String(repeating: "a+", count: 17)] {
                    #expect(try await world.client.get("/token?\(query)").status == 400)
                }
                #expect(try await world.client.send("PUT", "/token", body: []).status == 405)
                let wrong = try await world.client.get("/token", as: nil, ["Authorization": basic("ci", "wrong")])
                #expect(wrong.status == 401 && wrong["WWW-Authenticate"] == #"Basic realm="cistern""#)
            }
        }

        @Test("A removed user's token ends with the next reload, and a key that is taken out ends its tokens")
        func ends() async throws {
            try await Self.with { world async throws in
                let token = try await Self.token(world, "repository:team/a:pull")
                func status() async throws -> Int {
                    try await world.client.get("/v2/", as: nil, Self.bearer(token)).status
                }
                #expect(try await status() == 200)
                let keys = world.directory + "/secrets/token-signing.keys"
                #expect(try FileManager.default.attributesOfItem(atPath: keys)[.posixPermissions] as? Int == 0o600)
                let old = try String(contentsOfFile: keys, encoding: .utf8)
                func write(_ text: String) throws {
                    try Data(text.utf8).write(to: URL(fileURLWithPath: keys))
                }
                let new = "new \(String(repeating: "n", count: 32))\n"
                try write(new)
                try await waitUntil("the key to go") { try await status() == 401 }
                try write(new + old)
                try await waitUntil("the key to come back") { try await status() == 200 }
                let removed = try await run("cistern", ["user", "remove", "--data", world.directory, "ci"])
                #expect(removed.status == 0)
                try await waitUntil("the user to go") { try await status() == 401 }
            }
        }

        @Test("Switched off there are none: passwords are asked for, no token is good, and /token is nothing")
        func off() async throws {
            try await Self.with(["--auth-token", "off"]) { world async throws in
                for path in ["/v2/", "/v2/a/tags/list"] {
                    let answer = try await world.client.get(path, as: nil)
                    #expect(answer.status == 401 && answer["WWW-Authenticate"] == #"Basic realm="cistern""#)
                }
                #expect(try await world.client.get("/token").status == 404)
                #expect(try await world.client.get("/v2/", as: nil, Self.bearer("x.y.z")).status == 401)
                #expect(try await world.client.get("/v2/").status == 200)
            }
        }

        @Test(
            "An empty name with an empty password is nobody: what everybody may do is done", arguments: ["on", "off"])
        func empty(tokens: String) async throws {
            try await Self.with(["--auth-token", tokens]) { world async throws in
                let nobody = ["Authorization": "Basic Og=="]
                #expect(try await world.client.get("/v2/public/x/tags/list", as: nil, nobody).status == 404)
                for path in ["/v2/", "/v2/team/a/tags/list", "/api/v1/gc"] {
                    #expect(try await world.client.get(path, as: nil, nobody).status == 401)
                }
                let half = ["Authorization": basic("", "x")]
                #expect(try await world.client.get("/v2/public/x/tags/list", as: nil, half).status == 401)
            }
        }
    }
}
