import OCI
import Testing

extension Rule {
    private static let post = "POST then PUT"
    private static let single = "Single POST"

    /// "Pushing blobs monolithically".
    static let blobs: [Rule] = [
        Rule("end-4b POST", single, "with the digest and the content it gives 201 and the blob is there") { repo in
            for size in [1, 70_000, 3_000_000] {
                for algorithm in [DigestAlgorithm.sha256, .sha512] {
                    let bytes = makeNoise(size, seed: "post \(size) \(algorithm)")
                    let digest = Digest.of(bytes, algorithm).description
                    try await repo.expectNoBlob(digest)
                    let answer = try await repo.post("?digest=\(digest)", bytes)
                    try await repo.expectCreated(answer, digest, bytes)
                    try await repo.expectBlob(digest, bytes)
                }
            }
        },
        Rule("end-4b POST", single, "content of unknown length, sent in HTTP's chunks, is taken too") { repo in
            let bytes = makeNoise(200_000, seed: "streamed post")
            let digest = Digest.of(bytes).description
            let answer = try await repo.client.stream(
                "POST", "\(repo.root)/blobs/uploads/?digest=\(digest)", as: repo.user, [:],
                [Array(bytes[..<3]), Array(bytes[3..<100_000]), Array(bytes[100_000...])])
            try await repo.expectCreated(answer, digest, bytes)
        },
        Rule("end-4b POST", single, "without content, whatever the framing, it begins an upload: 202") { repo in
            let bytes = makeNoise(1000, seed: "later")
            let digest = Digest.of(bytes).description
            for body in [[], nil] as [[UInt8]?] {
                let answer = try await repo.post("?digest=\(digest)", body)
                #expect(answer.status == 202, "body: \(body == nil ? "none" : "empty"): \(answer.text)")
                guard answer.status == 202 else { continue }
                let pushed = try await repo.put(answer.location(), digest, bytes)
                try await repo.expectCreated(pushed, digest, bytes)
            }
        },
        Rule("end-4b POST", single, "the same blob again is 201 again") { repo in
            let bytes = makeNoise(5000, seed: "again")
            let digest = try await repo.push(bytes)
            try await repo.expectCreated(try await repo.post("?digest=\(digest)", bytes), digest, bytes)
        },
        Rule("end-4b POST", single, "another digest than the content's is 400 DIGEST_INVALID, nothing is kept") {
            repo in
            let bytes = makeNoise(5000, seed: "wrong")
            for algorithm in [DigestAlgorithm.sha256, .sha512] {
                let wrong = Digest.of([1, 2, 3], algorithm).description
                let answer = try await repo.post("?digest=\(wrong)", bytes)
                #expect(answer.status == 400 && answer.registryCode == "DIGEST_INVALID", "\(answer.text)")
                try await repo.expectNoBlob(wrong)
                try await repo.expectNoBlob(Digest.of(bytes, algorithm).description)
            }
        },
        Rule("end-4a POST, end-6 PUT", post, "201 with a Location that gives the blob") { repo in
            for (size, algorithm) in [(1, DigestAlgorithm.sha256), (300_000, .sha256), (300_000, .sha512)] {
                let bytes = makeNoise(size, seed: "put \(size) \(algorithm)")
                let digest = Digest.of(bytes, algorithm).description
                let location = try await repo.begin()
                try await repo.expectUpload(location, received: 0)
                try await repo.expectCreated(try await repo.put(location, digest, bytes), digest, bytes)
                try await repo.expectBlob(digest, bytes)
                try await repo.expectNoUpload(location)
            }
        },
        Rule("end-4a POST", post, "says at which size chunks begin, and that nothing came yet") { repo in
            let answer = try await repo.post()
            #expect(answer.status == 202 && answer.body.isEmpty)
            #expect(Int(answer["OCI-Chunk-Min-Length"] ?? "").map { $0 <= 1 } == true, "chunks of any size are taken")
            #expect(answer["Range"] == "0-0")
        },
        Rule("end-4a POST", post, "without a Content-Length and a trailing slash it is the same") { repo in
            for target in ["\(repo.root)/blobs/uploads/", "\(repo.root)/blobs/uploads"] {
                let answer = try await repo.send("POST", target)
                #expect(answer.status == 202, "\(answer.text)")
                try await repo.expectUpload(try answer.location(), received: 0)
            }
        },
        Rule("end-4a POST", post, "every algorithm, announced or not, can finish an upload") { repo in
            for announced in ["", "?digest-algorithm=sha256", "?digest-algorithm=sha512"] {
                for algorithm in [DigestAlgorithm.sha256, .sha512] {
                    let bytes = makeNoise(50_000, seed: "\(announced) \(algorithm)")
                    let digest = Digest.of(bytes, algorithm).description
                    let location = try await repo.begin(announced)
                    _ = try await repo.patch(location, Array(bytes[..<20_000]))
                    let answer = try await repo.put(location, digest, Array(bytes[20_000...]))
                    try await repo.expectCreated(answer, digest, bytes)
                }
            }
        },
        Rule("end-4a POST", post, "an algorithm that is not known is refused") { repo in
            for algorithm in ["md5", "sha1", "", "sha256%20", "%00"] {
                let answer = try await repo.post("?digest-algorithm=\(algorithm)")
                #expect(answer.status == 400, "\(algorithm): \(answer.text)")
            }
        },
        Rule("end-6 PUT", post, "another digest is 400 DIGEST_INVALID, nothing is kept and the upload is over") {
            repo in
            let bytes = makeNoise(5000, seed: "put wrong")
            for algorithm in [DigestAlgorithm.sha256, .sha512] {
                let wrong = Digest.of([1, 2, 3], algorithm).description
                let location = try await repo.begin()
                let answer = try await repo.put(location, wrong, bytes)
                #expect(answer.status == 400 && answer.registryCode == "DIGEST_INVALID", "\(answer.text)")
                try await repo.expectNoBlob(wrong)
                try await repo.expectNoBlob(Digest.of(bytes, algorithm).description)
                try await repo.expectNoUpload(location)
            }
        },
        Rule("end-6 PUT", post, "no digest or a malformed one is 400 DIGEST_INVALID, and the upload goes on") { repo in
            let bytes = makeNoise(5000, seed: "malformed")
            let location = try await repo.begin()
            for digest in [nil] + malformed {
                let answer = try await repo.put(location, digest, bytes)
                #expect(answer.status == 400, "\(digest ?? "none"): \(answer.text)")
                #expect(answer.registryCode == "DIGEST_INVALID", "\(digest ?? "none"): \(answer.text)")
                try await repo.expectUpload(location, received: 0)
            }
            let digest = Digest.of(bytes).description
            try await repo.expectCreated(try await repo.put(location, digest, bytes), digest, bytes)
        },
        Rule("end-4b, end-11 POST; end-2 GET; end-10 DELETE", post, "a malformed digest is 400 DIGEST_INVALID") {
            repo in
            for digest in malformed {
                for query in ["?digest=\(digest)", "?mount=\(digest)&from=team/x"] {
                    let answer = try await repo.post(query, [1])
                    #expect(answer.status == 400 && answer.registryCode == "DIGEST_INVALID", "\(query): \(answer.text)")
                }
                guard !digest.isEmpty else { continue }
                for method in ["GET", "DELETE"] {
                    let answer = try await repo.send(method, "\(repo.root)/blobs/\(digest)")
                    #expect(answer.status == 400 && answer.registryCode == "DIGEST_INVALID", "\(method) \(digest)")
                }
            }
        },
        Rule("end-4b POST, end-6 PUT", "Pushing blobs", "the empty blob is a blob like any other") { repo in
            for algorithm in [DigestAlgorithm.sha256, .sha512] {
                let digest = Digest.of([], algorithm).description
                let single = repo.other("single-\(algorithm)")
                try await single.expectCreated(try await single.post("?digest=\(digest)", []), digest, [])
                let put = repo.other("put-\(algorithm)")
                try await put.expectCreated(try await put.put(try await put.begin(), digest), digest, [])
                let patched = repo.other("patched-\(algorithm)")
                let location = try await patched.begin()
                #expect(try await patched.patch(location, []).status == 202)
                try await patched.expectCreated(try await patched.put(location, digest), digest, [])
                for repo in [single, put, patched] { try await repo.expectBlob(digest, []) }
            }
        },
    ]

    /// What no digest looks like, as it stands in a URL.
    static let malformed = [
        "", "sha256:", "sha256:abc", "sha256", ":", "latest", "sha256:" + String(repeating: "g", count: 64),
        "sha256:" + String(repeating: "A", count: 64), "sha256:" + String(repeating: "0", count: 63),
        "sha256:" + String(repeating: "0", count: 65), "sha512:" + String(repeating: "0", count: 64),
        "md5:" + String(repeating: "0", count: 32), "sha256:..%2f..", "sha256:%00",
    ]
}
