import OCI
import Testing

extension Rule {
    private static let section = "Pushing blobs"

    /// Uploads under way: whose they are, and how they end.
    static let uploads: [Rule] = [
        Rule("end-13 GET", section, "an upload that is not there is 404 BLOB_UPLOAD_UNKNOWN") { repo in
            for id in [
                "00000000-0000-4000-8000-000000000000", "x", "%2e%2e", "..%2f..", "0",
                String(repeating: "a", count: 3000),
                "00000000-0000-4000-8000-00000000000G", "_uploads",
            ] {
                try await repo.expectNoUpload("\(repo.root)/blobs/uploads/\(id)")
            }
        },
        Rule("end-14 DELETE", section, "a cancelled upload is gone with its bytes") { repo in
            let bytes = makeNoise(5000, seed: "cancelled")
            let location = try await repo.begin()
            #expect(try await repo.patch(location, bytes).status == 202)
            let answer = try await repo.send("DELETE", location)
            #expect(answer.status == 204 && answer.body.isEmpty)
            try await repo.expectNoUpload(location)
            try await repo.expectNoBlob(Digest.of(bytes).description)
            #expect(try SharedServer.world().store.unfinished() == [])
        },
        Rule("end-5 PATCH", section, "a chunk after the end is 404, and the blob stays as it is") { repo in
            let bytes = makeNoise(5000, seed: "over")
            let digest = Digest.of(bytes).description
            let location = try await repo.begin()
            #expect(try await repo.put(location, digest, bytes).status == 201)
            try await repo.expectNoUpload(location)
            try await repo.expectBlob(digest, bytes)
        },
        Rule("end-5, end-6, end-13, end-14", section, "an upload of another user is 404, and goes on for its own") {
            repo in
            let team = repo.asUser("team")
            let bytes = makeNoise(5000, seed: "mine")
            let digest = Digest.of(bytes).description
            let location = try await team.begin()
            #expect(try await team.patch(location, bytes).status == 202)
            // The operator may do everything here, and it is not the operator's upload.
            try await repo.expectNoUpload(location)
            try await team.expectUpload(location, received: 5000)
            try await team.expectCreated(try await team.put(location, digest), digest, bytes)
        },
        Rule("end-5, end-6, end-13, end-14", section, "an upload of another repository is 404") { repo in
            let location = try await repo.begin()
            let elsewhere = repo.other("elsewhere")
            let wrong = location.replacing("\(repo.root)/blobs", with: "\(elsewhere.root)/blobs")
            #expect(wrong != location)
            try await elsewhere.expectNoUpload(wrong)
            try await repo.expectUpload(location, received: 0)
        },
        Rule("end-4a POST", section, "uploads of one repository don't touch each other") { repo in
            let contents = (0..<8).map { makeNoise(50_000, seed: "beside \($0)") }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for bytes in contents {
                    group.addTask {
                        let location = try await repo.begin()
                        for start in stride(from: 0, to: bytes.count, by: 10_000) {
                            let part = Array(bytes[start..<start + 10_000])
                            #expect(try await repo.patch(location, part, at: start).status == 202)
                        }
                        let digest = Digest.of(bytes).description
                        try await repo.expectCreated(try await repo.put(location, digest), digest, bytes)
                    }
                }
                try await group.waitForAll()
            }
        },
    ]

    /// "Mounting a blob from another repository".
    static let mounts: [Rule] = [
        mount("what the source has is there at once, under both algorithms: 201") { repo in
            let source = repo.other("source")
            for algorithm in [DigestAlgorithm.sha256, .sha512] {
                let bytes = makeNoise(5000, seed: "mounted \(algorithm)")
                let digest = try await source.push(bytes, algorithm)
                let answer = try await repo.post("?mount=\(digest)&from=\(source.name)")
                try await repo.expectCreated(answer, digest, bytes)
                #expect(try await source.delete("blobs/\(digest)").status == 202)
                try await source.expectNoBlob(digest)
                try await repo.expectBlob(digest, bytes, "it is its own by now")
            }
        },
        mount("without a source it begins an upload: 202") { repo in
            let bytes = makeNoise(5000, seed: "no source")
            let digest = try await repo.other("source").push(bytes)
            let answer = try await repo.post("?mount=\(digest)")
            #expect(answer.status == 202)
            try await repo.expectNoBlob(digest)
            let location = try answer.location()
            try await repo.expectUpload(location, received: 0)
            try await repo.expectCreated(try await repo.put(location, digest, bytes), digest, bytes)
        },
        mount("what the source has not begins an upload: 202") { repo in
            let bytes = makeNoise(5000, seed: "not there")
            let digest = Digest.of(bytes).description
            for source in ["\(repo.name)-nothing", repo.name, "cloudfoundry/x", "cistern/tiny", "Not/A/Name", "..", ""]
            {
                let answer = try await repo.post("?mount=\(digest)&from=\(source)")
                #expect(answer.status == 202, "\(source): \(answer.text)")
                try await repo.expectUpload(try answer.location(), received: 0)
            }
            try await repo.expectNoBlob(digest)
        },
        mount("from where the user may not read it is as if it were not there: 202") { repo in
            let bytes = makeNoise(5000, seed: "not for you")
            let hidden = Repo(repo.client, "hidden/secret", as: "operator")
            let digest = try await hidden.push(bytes)
            let team = repo.asUser("team")
            let answer = try await team.post("?mount=\(digest)&from=\(hidden.name)")
            #expect(answer.status == 202, "\(answer.text)")
            try await team.expectNoBlob(digest)
            let missing = try await team.post("?mount=\(Manifests.nobody)&from=\(hidden.name)")
            #expect(missing.status == answer.status && missing.body == answer.body)
            #expect(missing.headers.map(\.name) == answer.headers.map(\.name), "nothing tells the two apart")
        },
        mount("from where the user may read, and only that, it is taken: 201") { repo in
            let bytes = makeNoise(5000, seed: "for everybody")
            let source = Repo(repo.client, "guest/library", as: "operator")
            let digest = try await source.push(bytes)
            let answer = try await repo.post("?mount=\(digest)&from=guest/library")
            try await repo.expectCreated(answer, digest, bytes)
        },
        mount("what a derived repository's images consist of is there at once: 201") { repo in
            let world = try SharedServer.world()
            let droplet = Droplet("mounted")
            try await world.upload(droplet, guid: "mounted")
            for (source, tag) in [("cloudfoundry/mounted", droplet.sha256), ("cistern/tiny", "1")] {
                let image = try await Image(tag, of: source, from: world.client)
                for digest in image.layerDigests + [image.configDigest] {
                    let bytes = try await world.client.get("/v2/\(source)/blobs/\(digest)").body
                    let target = repo.other(tag.prefix(8).description)
                    let answer = try await target.post("?mount=\(digest)&from=\(source)")
                    try await target.expectCreated(answer, digest, bytes)
                    let team = repo.asUser("team")
                    #expect(try await team.post("?mount=\(digest)&from=\(source)").status == 202, "not for everybody")
                    try await team.expectNoBlob(digest)
                }
                #expect(try await repo.post("?mount=\(image.digest)&from=\(source)").status == 202, "it is no blob")
            }
        },
        mount("a blob that its repository deleted can't be mounted from it") { repo in
            let source = repo.other("source")
            let digest = try await source.push(makeNoise(5000, seed: "deleted"))
            #expect(try await source.delete("blobs/\(digest)").status == 202)
            #expect(try await repo.post("?mount=\(digest)&from=\(source.name)").status == 202)
            try await repo.expectNoBlob(digest)
        },
    ]

    private static func mount(_ sentence: String, _ check: @escaping @Sendable (Repo) async throws -> Void) -> Rule {
        Rule("end-11 POST", "Mounting a blob from another repository", sentence, check)
    }
}
