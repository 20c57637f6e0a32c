import OCI
import Testing

extension Rule {
    static let deletes: [Rule] = [
        Rule("end-9 DELETE", "Deleting tags", "the tag is gone at once and everything else stays") { repo in
            let manifest = Manifests.numbered(1)
            let digest = try await repo.push(manifest: manifest, "a")
            try await repo.push(manifest: manifest, "b")
            #expect(try await repo.delete("manifests/a").status == 202)
            try await repo.expectNoManifest("a")
            try await repo.expectManifest("b", manifest)
            try await repo.expectManifest(digest, manifest)
            #expect(try await repo.tags() == ["b"])
            let again = try await repo.delete("manifests/a")
            #expect(again.status == 404 && again.registryCode == "MANIFEST_UNKNOWN")
        },
        Rule("end-9 DELETE", "Deleting Manifests", "it is gone at once, with its tags, in lists too") { repo in
            let (manifest, other) = (Manifests.numbered(1), Manifests.numbered(2))
            let digest = try await repo.push(manifest: manifest, "a")
            try await repo.push(manifest: manifest, "b")
            try await repo.push(manifest: other, "c")
            #expect(try await repo.delete("manifests/\(digest)").status == 202)
            for reference in [digest, "a", "b"] { try await repo.expectNoManifest(reference) }
            try await repo.expectManifest("c", other)
            #expect(try await repo.tags() == ["c"])
            let again = try await repo.delete("manifests/\(digest)")
            #expect(again.status == 404 && again.registryCode == "MANIFEST_UNKNOWN")
        },
        Rule("end-9 DELETE", "Deleting Manifests", "of sha512 it is the same") { repo in
            let manifest = Manifests.numbered(3)
            let digest = Digest.of(manifest, .sha512).description
            #expect(try await repo.put(manifest: manifest, "\(digest)?tag=a").status == 201)
            #expect(try await repo.delete("manifests/\(digest)").status == 202)
            for reference in [digest, "a"] { try await repo.expectNoManifest(reference) }
        },
        Rule("end-9 DELETE", "Deleting Manifests", "pushed again, it does not bring its old tags back") { repo in
            let manifest = Manifests.numbered(4)
            let digest = try await repo.push(manifest: manifest, "old")
            #expect(try await repo.delete("manifests/\(digest)").status == 202)
            try await repo.push(manifest: manifest)
            try await repo.expectManifest(digest, manifest)
            try await repo.expectNoManifest("old")
            #expect(try await repo.tags() == [])
            try await repo.push(manifest: manifest, "new")
            #expect(try await repo.tags() == ["new"])
        },
        Rule("end-9 DELETE", "Deleting Manifests", "a repository keeps what another one deletes") { repo in
            let other = repo.other("keeps")
            let manifest = Manifests.numbered(5)
            let digest = try await repo.push(manifest: manifest, "a")
            try await other.push(manifest: manifest, "a")
            #expect(try await repo.delete("manifests/\(digest)").status == 202)
            try await other.expectManifest("a", manifest)
            try await other.expectManifest(digest, manifest)
        },
        Rule("end-10 DELETE", "Deleting Blobs", "it is gone at once here, and stays where others have it") { repo in
            let bytes = makeNoise(5000, seed: "deleted")
            let other = repo.other("keeps")
            for algorithm in [DigestAlgorithm.sha256, .sha512] {
                let digest = try await repo.push(bytes, algorithm)
                try await other.push(bytes, algorithm)
                try await repo.expectBlob(digest, bytes)
                let answer = try await repo.delete("blobs/\(digest)")
                #expect(answer.status == 202 && answer.body.isEmpty)
                try await repo.expectNoBlob(digest)
                try await other.expectBlob(digest, bytes)
                let again = try await repo.delete("blobs/\(digest)")
                #expect(again.status == 404 && again.registryCode == "BLOB_UNKNOWN")
                try await repo.push(bytes, algorithm)
                try await repo.expectBlob(digest, bytes, "pushed again it is there again")
            }
        },
        Rule("end-9, end-10 DELETE", "Content Management", "what was never there is 404, what is malformed 400") {
            repo in
            for (rest, code) in [
                ("manifests/nothing", "MANIFEST_UNKNOWN"), ("manifests/\(Manifests.nobody)", "MANIFEST_UNKNOWN"),
                ("blobs/\(Manifests.nobody)", "BLOB_UNKNOWN"),
            ] {
                let answer = try await repo.delete(rest)
                #expect(answer.status == 404 && answer.registryCode == code, "\(rest)")
            }
            for rest in ["manifests/sha256:x", "manifests/-a", "blobs/latest", "blobs/sha256:x"] {
                #expect(try await repo.delete(rest).status == 400, "\(rest)")
            }
        },
    ]

    static let rights: [Rule] = [
        Rule("end-4 … end-14", "Authorization", "who may only read writes nothing: 403 DENIED") { _ in
            let client = try SharedServer.world().client
            let owner = Repo(client, "guest/rights")
            let bytes = makeNoise(1000, seed: "rights")
            let blob = try await owner.push(bytes)
            let manifest = Manifests.numbered(1)
            let digest = try await owner.push(manifest: manifest, "kept")
            let location = try await owner.begin()
            for user in ["pull", "reader"] {
                let repo = owner.asUser(user)
                try await repo.expectBlob(blob, bytes)
                try await repo.expectManifest("kept", manifest)
                for answer in [
                    try await repo.post(), try await repo.post("?digest=\(blob)", bytes),
                    try await repo.post("?mount=\(blob)&from=guest/rights"), try await repo.patch(location, [1]),
                    try await repo.put(location, blob, bytes), try await repo.send("GET", location),
                    try await repo.send("DELETE", location),
                    try await repo.put(manifest: Manifests.numbered(2), "kept"),
                    try await repo.delete("manifests/kept"), try await repo.delete("manifests/\(digest)"),
                    try await repo.delete("blobs/\(blob)"),
                ] {
                    #expect(answer.status == 403 && answer.registryCode == "DENIED", "\(user): \(answer.text)")
                }
            }
            try await owner.expectManifest("kept", manifest)
            try await owner.expectBlob(blob, bytes)
            try await owner.expectUpload(location, received: 0)
        },
        Rule("end-2, end-3, end-8, end-12 GET", "Authorization", "what a user may not read is as if it were not there")
        {
            _ in
            let client = try SharedServer.world().client
            let hidden = Repo(client, "hidden/rights")
            let manifest = Manifests.numbered(2)
            let blob = try await hidden.push([4, 5, 6])
            let digest = try await hidden.push(manifest: manifest, "secret")
            let (repo, nothing) = (hidden.asUser("team"), Repo(client, "hidden/nothing", as: "team"))
            for rest in [
                "manifests/secret", "manifests/\(digest)", "blobs/\(blob)", "tags/list", "referrers/\(digest)",
            ] {
                let (there, missing) = (try await repo.get(rest), try await nothing.get(rest))
                #expect(there.status == 404 && missing.status == 404, "\(rest): \(there.text)")
                #expect(there.registryCode == missing.registryCode)
                let text = there.text.replacing(hidden.name, with: nothing.name)
                #expect(text == missing.text, "nothing tells the two apart")
            }
            for answer in [try await repo.post(), try await repo.put(manifest: manifest, "mine")] {
                #expect(answer.status == 403 && answer.registryCode == "DENIED")
            }
        },
        Rule("end-4 … end-14", "Authorization", "strangers are asked who they are, whatever they want: 401") { _ in
            let client = try SharedServer.world().client
            let hash = Manifests.nobody
            for (method, path) in [
                ("GET", "/v2/"), ("POST", "/v2/team/x/blobs/uploads/"),
                ("POST", "/v2/team/x/blobs/uploads/?digest=\(hash)"),
                ("PATCH", "/v2/team/x/blobs/uploads/00000000-0000-4000-8000-000000000000"),
                ("PUT", "/v2/team/x/blobs/uploads/00000000-0000-4000-8000-000000000000?digest=\(hash)"),
                ("GET", "/v2/team/x/blobs/uploads/00000000-0000-4000-8000-000000000000"),
                ("DELETE", "/v2/team/x/blobs/uploads/00000000-0000-4000-8000-000000000000"),
                ("PUT", "/v2/team/x/manifests/a"), ("DELETE", "/v2/team/x/manifests/a"),
                ("DELETE", "/v2/team/x/blobs/\(hash)"), ("GET", "/v2/team/x/tags/list"), ("GET", "/v2/_catalog"),
                ("GET", "/v2/team/x/referrers/\(hash)"), ("GET", "/v2/team/x/blobs/\(hash)"),
                ("GET", "/v2/team/x/manifests/a"),
            ] {
                let answer = try await client.send(method, path, as: nil, body: method == "GET" ? nil : [1])
                #expect(answer.status == 401 && answer.registryCode == "UNAUTHORIZED", "\(method) \(path)")
                // Clients with passwords only want Basic, the others a token; docker could not pull without a login if
                // `/v2/` named both.
                let schemes = answer.headers.filter { $0.name == "www-authenticate" }.map {
                    $0.value.prefix { $0 != " " }
                }
                #expect(schemes == (path == "/v2/" ? ["Bearer"] : ["Bearer", "Basic"]), "\(method) \(path)")
            }
        },
        Rule("end-4 … end-7", "Authorization", "a push is for the user's own repositories alone") { repo in
            let team = repo.asUser("team")
            try await team.expectBlob(try await team.push([1, 2]), [1, 2])
            try await team.push(manifest: Manifests.numbered(3), "mine")
            for name in ["team", "guest/x", "teams/x", "x/team/y", "library"] {
                let other = Repo(team.client, name, as: "team")
                #expect(try await other.post().status == 403, "\(name)")
                #expect(try await other.put(manifest: Manifests.numbered(3), "mine").status == 403, "\(name)")
            }
        },
    ]
}
