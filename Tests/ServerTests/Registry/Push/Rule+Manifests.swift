import JSON
import OCI
import Testing

extension Rule {
    private static let section = "Pushing Manifests"

    static let manifests: [Rule] = [
        Rule("end-7 PUT", section, "by tag: 201, and by tag and digest the same bytes and type") { repo in
            let manifest = Manifests.numbered(1)
            let digest = Digest.of(manifest).description
            try await repo.expectCreated(try await repo.put(manifest: manifest, "v1"), digest, manifest)
            for reference in ["v1", digest] { try await repo.expectManifest(reference, manifest) }
        },
        Rule("end-7 PUT", section, "by digest: 201, and no tag comes of it") { repo in
            for algorithm in [DigestAlgorithm.sha256, .sha512] {
                let manifest = Manifests.image(#","annotations":{"by":"\#(algorithm)"}"#)
                let digest = Digest.of(manifest, algorithm).description
                try await repo.expectCreated(try await repo.put(manifest: manifest, digest), digest, manifest)
                try await repo.expectManifest(digest, manifest)
            }
            #expect(try await repo.tags() == [])
        },
        Rule("end-7 PUT", section, "of whatever media type, it is kept byte for byte") { repo in
            let unknown = Array("\r\n{ \"a\" : [1.50, 1e3, \"\\u0041\"], \"a\":2 }\t\n".utf8)
            let text = Array("no JSON at all: \u{0}\u{7f}".utf8) + [0xff, 0xfe]
            for (number, (manifest, type)) in [
                (Manifests.numbered(1), Manifests.oci), (Manifests.index([]), Manifests.index),
                (Manifests.image(type: Manifests.docker), Manifests.docker),
                (Manifests.index([], type: Manifests.dockerList), Manifests.dockerList),
                (unknown, "application/vnd.example.thing.v1+json"), (text, "text/plain"),
                (text, "application/vnd.example.UPPER+x.y-z"),
            ].enumerated() {
                let digest = Digest.of(manifest).description
                let answer = try await repo.put(manifest: manifest, "t\(number)", type: type)
                try await repo.expectCreated(answer, digest, manifest)
                try await repo.expectManifest("t\(number)", manifest, type: type)
                try await repo.expectManifest(digest, manifest, type: type)
            }
        },
        Rule("end-7 PUT", section, "a list that is null or missing is empty, and the bytes stay as they came") { repo in
            let config = Manifests.descriptor(Manifests.nobody, type: Manifests.config)
            for (number, (text, type)) in [
                (#"{"schemaVersion":2,"config":\#(config),"layers":null}"#, Manifests.oci),
                (#"{"schemaVersion":2,"config":\#(config)}"#, Manifests.docker),
                (#"{"schemaVersion":2,"manifests":null}"#, Manifests.index),
                (#"{"schemaVersion":2}"#, Manifests.dockerList),
            ].enumerated() {
                let digest = try await repo.push(manifest: Array(text.utf8), "null-\(number)", type: type)
                for reference in ["null-\(number)", digest] {
                    try await repo.expectManifest(reference, Array(text.utf8), type: type)
                }
            }
            let untyped = Array(#"{"schemaVersion":2,"config":\#(config),"layers":null,"annotations":{"a":"b"}}"#.utf8)
            try await repo.expectManifest(try await repo.push(manifest: untyped, type: nil), untyped)
        },
        Rule("end-7 PUT", section, "without a Content-Type the manifest's own mediaType counts") { repo in
            for (type, manifest) in [
                (Manifests.oci, Manifests.numbered(2)), (Manifests.index, Manifests.index([])),
                (Manifests.docker, Manifests.image(type: Manifests.docker)),
                (Manifests.oci, Manifests.image(type: nil)),
            ] {
                let digest = try await repo.push(manifest: manifest, type: nil)
                try await repo.expectManifest(digest, manifest, type: type)
            }
        },
        Rule("end-7 PUT", section, "a Content-Type's parameters don't make it another type") { repo in
            let manifest = Manifests.numbered(3)
            let digest = try await repo.push(manifest: manifest, type: Manifests.oci + "; charset=utf-8")
            try await repo.expectManifest(digest, manifest)
        },
        Rule("end-7 PUT", section, "4 MiB are taken, and not a byte more: 413") { repo in
            let most = 4 << 20
            func manifest(_ size: Int) -> [UInt8] {
                let shell = Manifests.image(#","annotations":{"x":""}"#)
                let filling = String(repeating: "x", count: size - shell.count)
                return Manifests.image(#","annotations":{"x":"\#(filling)"}"#)
            }
            #expect(manifest(most).count == most)
            let digest = try await repo.push(manifest: manifest(most), "largest")
            try await repo.expectManifest(digest, manifest(most))
            let large = manifest(most + 1)
            let answer = try await repo.put(manifest: large, "larger")
            #expect(answer.status == 413 && answer.registryCode == "SIZE_INVALID", "\(answer.text)")
            let streamed = try await repo.client.stream(
                "PUT", "\(repo.root)/manifests/larger", as: repo.user, ["Content-Type": Manifests.oci], [large])
            #expect(streamed.status == 413, "\(streamed.text)")
            try await repo.expectNoManifest("larger")
            try await repo.expectNoManifest(Digest.of(large).description)
        },
        Rule("end-7 PUT", section, "a Content-Type that is not the mediaType is 400 MANIFEST_INVALID") { repo in
            for (manifest, type) in [
                (Manifests.numbered(4), Manifests.docker), (Manifests.numbered(4), Manifests.index),
                (Manifests.index([]), Manifests.oci), (Manifests.numbered(4), "application/json"),
                (Manifests.numbered(4), "no type"), (Manifests.numbered(4), "/"),
            ] {
                try await refused(manifest, type, repo)
            }
        },
        Rule("end-7 PUT", section, "layers and manifests in one document are 400 MANIFEST_INVALID") { repo in
            let layer = Manifests.descriptor(Manifests.nobody)
            let both = #","manifests":[\#(Manifests.descriptor(Manifests.nobody, type: Manifests.oci))]"#
            try await refused(Manifests.image(layers: [layer], type: nil, both), Manifests.oci, repo)
            try await refused(Manifests.image(layers: [layer], both), Manifests.oci, repo)
            for more in [#","layers":[\#(layer)]"#, #","config":\#(layer),"layers":[]"#] {
                try await refused(Manifests.index([], more), Manifests.index, repo)
            }
            try await refused(Manifests.image(layers: [layer], type: nil, both), nil, repo)
        },
        Rule("end-7 PUT", section, "what is no manifest of its type is 400 MANIFEST_INVALID") { repo in
            let documents = [
                "", "{", "[]", "null", "1", "{}", #"{"schemaVersion":1,"manifests":[]}"#,
                #"{"schemaVersion":2,"config":{},"layers":[]}"#, #"{"schemaVersion":2,"manifests":{},"layers":[]}"#,
                #"{"schemaVersion":2,"config":{"mediaType":"a/b","size":-1,"digest":"\#(Manifests.nobody)"},"layers":[]}"#,
                #"{"schemaVersion":2,"config":{"mediaType":"a/b","size":1,"digest":"sha256:x"},"layers":[]}"#,
                #"{"schemaVersion":2,"config":\#(Manifests.descriptor(Manifests.nobody)),"layers":{}}"#,
                String(repeating: "[", count: 100_000),
            ]
            for document in documents {
                for type in [Manifests.oci, Manifests.docker, Manifests.index, Manifests.dockerList] {
                    try await refused(Array(document.utf8), type, repo)
                }
            }
        },
        Rule("end-7 PUT", section, "another digest than the bytes' is 400 DIGEST_INVALID, nothing is kept") { repo in
            let manifest = Manifests.numbered(5)
            for algorithm in [DigestAlgorithm.sha256, .sha512] {
                let wrong = Digest.of([1], algorithm).description
                let answer = try await repo.put(manifest: manifest, "\(wrong)?tag=wrong")
                #expect(answer.status == 400 && answer.registryCode == "DIGEST_INVALID", "\(answer.text)")
                for reference in [wrong, Digest.of(manifest, algorithm).description, "wrong"] {
                    try await repo.expectNoManifest(reference)
                }
            }
        },
        Rule("end-7 PUT", section, "a digest in the query is the one that the bytes must have, under a tag too") {
            repo in
            let manifest = Manifests.numbered(15)
            for algorithm in [DigestAlgorithm.sha256, .sha512] {
                let digest = Digest.of(manifest, algorithm).description
                for reference in ["stated", digest] {
                    let answer = try await repo.put(manifest: manifest, "\(reference)?digest=\(digest)")
                    try await repo.expectCreated(answer, digest, manifest)
                    #expect(answer["Location"]?.hasSuffix(digest) == true)
                }
                #expect(try await repo.get("manifests/stated")["Docker-Content-Digest"] == digest)
                #expect(try await repo.delete("manifests/\(digest)").status == 202)
                let wrong = Digest.of([1], algorithm).description
                for target in [
                    "stated?digest=\(wrong)", "\(digest)?digest=\(wrong)", "stated?digest=\(digest)&digest=\(wrong)",
                    "stated?digest=", "stated?digest=sha256:x", "stated?digest=%zz", "stated?digest",
                ] {
                    let answer = try await repo.put(manifest: manifest, target)
                    #expect(
                        answer.status == 400 && answer.registryCode == "DIGEST_INVALID", "\(target): \(answer.text)")
                    for reference in ["stated", digest, wrong] { try await repo.expectNoManifest(reference) }
                }
            }
        },
        Rule("end-7 PUT", section, "Docker's schema 1 is 400 MANIFEST_INVALID, and the answer says what to do") {
            repo in
            let text = #"{"schemaVersion":1,"name":"a","tag":"b","architecture":"amd64","fsLayers":[],"history":[]}"#
            for type in ["v1+json", "v1+prettyjws"].map({ "application/vnd.docker.distribution.manifest.\($0)" }) + [
                "application/json", "text/plain",
            ] {
                try await refused(Array(text.utf8), type, repo)
                let answer = try await repo.put(manifest: Array(text.utf8), "refused", type: type)
                #expect(answer.text.contains("skopeo copy"), "\(answer.text)")
            }
            try await refused(Array("{}".utf8), "application/vnd.docker.distribution.manifest.v1+json", repo)
        },
        Rule("end-7 PUT", section, "a malformed tag or digest is 400, nothing is kept") { repo in
            let manifest = Manifests.numbered(6)
            for reference in malformed.filter({ $0.contains(":") }) {
                let answer = try await repo.put(manifest: manifest, reference)
                #expect(answer.status == 400 && answer.registryCode == "DIGEST_INVALID", "\(reference): \(answer.text)")
            }
            for reference in ["-a", ".a", "a%2fb", "%00", "a%20b", String(repeating: "a", count: 129)] {
                let answer = try await repo.put(manifest: manifest, reference)
                #expect(answer.status == 400 && answer.registryCode == "NAME_INVALID", "\(reference): \(answer.text)")
            }
            try await repo.expectNoManifest(Digest.of(manifest).description)
        },
        Rule("end-7 PUT", section, "a tag moves; what it pointed to stays by its digest") { repo in
            let (old, new) = (Manifests.numbered(7), Manifests.numbered(8))
            let digest = try await repo.push(manifest: old, "moving")
            try await repo.push(manifest: new, "moving")
            try await repo.expectManifest("moving", new)
            try await repo.expectManifest(digest, old)
            #expect(try await repo.tags() == ["moving"])
        },
        Rule("end-7b PUT", section, "a push by digest sets the tags that it names, and says so in OCI-Tag") { repo in
            for algorithm in [DigestAlgorithm.sha256, .sha512] {
                let manifest = Manifests.image(#","annotations":{"tags":"\#(algorithm)"}"#)
                let digest = Digest.of(manifest, algorithm).description
                let answer = try await repo.put(manifest: manifest, "\(digest)?tag=a&tag=b.1_2-3&tag=latest")
                try await repo.expectCreated(answer, digest, manifest)
                #expect(answer["OCI-Tag"] == "a, b.1_2-3, latest")
                for tag in ["a", "b.1_2-3", "latest"] {
                    try await repo.expectManifest(tag, manifest)
                    #expect(try await repo.get("manifests/\(tag)")["Docker-Content-Digest"] == digest)
                }
            }
            #expect(try await repo.tags() == ["a", "b.1_2-3", "latest"])
        },
        Rule("end-7b PUT", section, "one malformed tag among them, or too many, and nothing is kept") { repo in
            let manifest = Manifests.numbered(9)
            let digest = Digest.of(manifest).description
            for tags in [
                "tag=good&tag=-bad", "tag=good&tag=", "tag=good&tag=a%2fb", "tag=good&tag=%zz", "tag=good&tag",
            ] {
                let answer = try await repo.put(manifest: manifest, "\(digest)?\(tags)")
                #expect(answer.status == 400, "\(tags): \(answer.text)")
            }
            let many = (0..<100).map { "tag=t\($0)" }.joined(separator: "&")
            #expect(try await repo.put(manifest: manifest, "\(digest)?\(many)").status == 414)
            try await repo.expectNoManifest(digest)
            try await repo.expectNoManifest("good")
            try await repo.expectNoManifest("t0")
        },
    ]

    /// A push that is refused as no manifest, and leaves nothing.
    private static func refused(
        _ manifest: [UInt8], _ type: String?, _ repo: Repo, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let answer = try await repo.put(manifest: manifest, "refused", type: type)
        let comment: Comment = "\(type ?? "no type"): \(String(decoding: manifest.prefix(200), as: UTF8.self))"
        #expect(answer.status == 400, comment, sourceLocation: sourceLocation)
        #expect(answer.registryCode == "MANIFEST_INVALID", comment, sourceLocation: sourceLocation)
        try await repo.expectNoManifest("refused", sourceLocation: sourceLocation)
        try await repo.expectNoManifest(Digest.of(manifest).description, sourceLocation: sourceLocation)
    }
}
