import OCI
import Testing

extension Rule {
    private static let section = "(bounds)"

    /// What a sender may ask for at most, and what comes of asking for more.
    static let limits: [Rule] = [
        Rule("end-4a POST", section, "a user who begins uploads without end is told to wait: 429 TOOMANYREQUESTS") {
            _ in
            let repo = Repo(try SharedServer.world().client, "guest/endless", as: "guest")
            var locations: [String] = []
            var refused: Answer?
            while refused == nil, locations.count < 3000 {
                let answer = try await repo.post()
                if answer.status == 202 { locations.append(try answer.location()) } else { refused = answer }
            }
            #expect(refused?.status == 429 && refused?.registryCode == "TOOMANYREQUESTS", "\(refused?.text ?? "never")")
            #expect(refused?["Retry-After"] != nil)
            let single = try await repo.post("?digest=\(Digest.of([1]))", [1])
            #expect(single.status == 429, "a push in one request is an upload too")
            let other = Repo(repo.client, "team/not-endless", as: "team")
            #expect(try await other.post("?digest=\(Digest.of([1]))", [1]).status == 201, "others are not concerned")
            for location in locations { #expect(try await repo.send("DELETE", location).status == 204) }
            try await repo.expectBlob(try await repo.push([1]), [1])
        },
        Rule("end-7 PUT", section, "a manifest that names as much as fits into it is taken") { repo in
            let layers = (0..<25_000).map { Manifests.descriptor(Digest.of(Array("\($0)".utf8)).description) }
            let manifest = Manifests.image(layers: layers)
            try #require(((3 << 20)...(4 << 20)).contains(manifest.count))
            let world = try SharedServer.world()
            let before = try world.processorTime
            try await repo.push(manifest: manifest, "many")
            #expect(try world.processorTime - before < .seconds(20), "in a debug build")
            try await repo.expectManifest("many", manifest)
        },
        Rule("end-7 PUT", section, "a document of an unknown type may be nested as deeply as it likes") { repo in
            let type = "application/vnd.example.deep+json"
            for text in [String(repeating: "[", count: 4 << 20), String(repeating: #"{"a":"#, count: 800_000)] {
                let manifest = Array(text.utf8)
                try await repo.push(manifest: manifest, "deep", type: type)
                try await repo.expectManifest("deep", manifest, type: type)
            }
        },
        Rule(
            "end-8b, end-12a GET; GET _catalog", section,
            "whatever stands in last, it is a text to begin behind, or 400"
        ) {
            repo in
            try await repo.push(manifest: Manifests.numbered(1, Manifests.subject(Manifests.nobody)), "tag")
            for path in ["\(repo.root)/tags/list", "\(repo.root)/referrers/\(Manifests.nobody)", "/v2/_catalog"] {
                for last in [
                    "%00", "%ff%fe", "..", "%2e%2e%2f", "../../x", "!", "a!b", "%", "%zz", "%0d%0aX:1", "", "~~~",
                    String(repeating: "z", count: 3000), "%F0%9F%98%80", "sha256-", "%2f", "_tags%2f",
                ] {
                    let answer = try await repo.send("GET", "\(path)?last=\(last)")
                    #expect([200, 400].contains(answer.status), "\(path) \(last): \(answer.status) \(answer.text)")
                    #expect(answer.headers.allSatisfy { $0.name != "x" })
                    for member in ["tags", "repositories"] {
                        let found = answer.strings(member)
                        #expect(
                            found.allSatisfy { $0 == "tag" || $0.contains("/") || $0.contains("cistern") }, "\(found)")
                    }
                }
            }
        },
        Rule("end-4b POST, end-7 PUT", section, "who waits to be asked is asked, and not if it is refused anyway") {
            repo in
            func first(_ method: String, _ target: String, as user: String, _ length: Int) async throws -> (
                RawConnection, String
            ) {
                let connection = try await RawConnection(port: repo.client.port)
                let headers = [
                    "Content-Length": String(length), "Expect": "100-continue", "Content-Type": Manifests.oci,
                ]
                try await connection.send(repo.client.head(method, target, as: user, headers))
                return (connection, String(decoding: try await connection.receive(), as: UTF8.self))
            }
            let bytes = makeNoise(100_000, seed: "asked")
            let digest = Digest.of(bytes).description
            let post = "\(repo.root)/blobs/uploads/?digest=\(digest)"
            let (connection, asked) = try await first("POST", post, as: repo.user, bytes.count)
            defer { connection.close() }
            #expect(asked == "HTTP/1.1 100 Continue\r\n\r\n")
            try await connection.send(bytes)
            try await repo.expectCreated(try await Answer(from: connection), digest, bytes)
            for (method, target, user, length, status) in [
                ("POST", post, "pull", 1000, 403), ("PUT", "\(repo.root)/manifests/a", "pull", 1000, 403),
                ("PUT", "\(repo.root)/manifests/a", repo.user, (4 << 20) + 1, 413),
                ("POST", post, repo.user, 1 << 50, 413), ("PUT", "\(repo.root)/manifests/-a", repo.user, 1000, 400),
                ("POST", "\(repo.root)/blobs/uploads/?digest=x", repo.user, 1000, 400),
                (
                    "PATCH", "\(repo.root)/blobs/uploads/00000000-0000-4000-8000-000000000000", repo.user, 1000, 404
                ),
            ] {
                let (connection, said) = try await first(method, target, as: user, length)
                connection.close()
                #expect(said.hasPrefix("HTTP/1.1 \(status) "), "\(method) \(target): \(said.prefix(80))")
            }
        },
        Rule("end-4b POST, end-6 PUT", section, "what comes behind the announced length is not part of the blob") {
            repo in
            let bytes = makeNoise(10_000, seed: "more")
            let digest = Digest.of(bytes).description
            let location = try await repo.begin()
            for (method, target) in [
                ("POST", "\(repo.root)/blobs/uploads/?digest=\(digest)"), ("PUT", "\(location)?digest=\(digest)"),
            ] {
                let connection = try await RawConnection(port: repo.client.port)
                defer { connection.close() }
                let head = repo.client.head(method, target, as: repo.user, ["Content-Length": "10000"])
                try await connection.send(
                    Array(head.utf8) + bytes + Array("GET /more HTTP/1.1\r\nHost: a\r\n\r\n garbage".utf8))
                let answer = try await Answer(from: connection)
                try await repo.expectCreated(answer, digest, bytes)
            }
            // One byte less than the blob has is another blob.
            let short = try await RawConnection(port: repo.client.port)
            defer { short.close() }
            let other = makeNoise(10_000, seed: "less")
            let target = "\(repo.root)/blobs/uploads/?digest=\(Digest.of(other))"
            try await short.send(
                Array(repo.client.head("POST", target, as: repo.user, ["Content-Length": "9999"]).utf8) + other)
            let refused = try await Answer(from: short)
            #expect(refused.status == 400 && refused.registryCode == "DIGEST_INVALID")
            try await repo.expectNoBlob(Digest.of(other).description)
        },
    ]
}
