import JSON
import OCI
import Testing

extension Rule {
    private static let listing = "Listing Tags"
    private static let referring = "Listing Referrers"

    static let tags: [Rule] = [
        Rule("end-8a GET", listing, "all tags, in byte order, with the repository's name") { repo in
            let tags = ["Z", "a", "_x", "0", "a.b", "A-1", "a-1", "latest", "10", "9"]
            try await tag(tags, repo)
            let answer = try await repo.get("tags/list")
            #expect(answer.status == 200 && answer.json["name"]?.string == repo.name)
            #expect(answer.strings("tags") == tags.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) })
            #expect(answer["Link"] == nil)
        },
        Rule("end-8b GET", listing, "n bounds a page, Link leads to the next, last begins behind a tag") { repo in
            let tags = (10..<27).map { "tag-\($0)" }
            try await tag(tags, repo)
            for size in [1, 2, 16, 17, 18] {
                let (pages, found) = try await repo.all("\(repo.root)/tags/list?n=\(size)") { answer in
                    #expect(answer.strings("tags").count <= size)
                    return answer.strings("tags")
                }
                #expect(found == tags && pages == (tags.count + size - 1) / size, "pages of \(size)")
            }
            #expect(try await repo.tags("?last=tag-20") == Array(tags[11...]))
            #expect(try await repo.tags("?last=tag-200") == Array(tags[11...]), "it need not be there")
            #expect(try await repo.tags("?n=1&last=tag-25") == ["tag-26"])
            #expect(try await repo.tags("?last=zzz") == [])
        },
        Rule("end-8b GET", listing, "n=0 gives none, a huge n all, and what is no number is 400") { repo in
            try await tag(["a", "b"], repo)
            let none = try await repo.get("tags/list?n=0")
            #expect(none.status == 200 && none.strings("tags") == [] && none["Link"] == nil)
            for n in ["2", "1000000000", "9223372036854775807", "9223372036854775808", "99999999999999999999"] {
                let answer = try await repo.get("tags/list?n=\(n)")
                #expect(answer.status == 200 && answer.strings("tags") == ["a", "b"], "\(n): \(answer.text)")
            }
            for n in ["-1", "-9223372036854775808", "x", "1.5", "", "%zz"] {
                let answer = try await repo.get("tags/list?n=\(n)")
                #expect(answer.status == 400 && answer.registryCode == "UNSUPPORTED", "\(n): \(answer.text)")
            }
        },
        Rule("end-8b GET", listing, "more than a thousand come in pages even when nobody asks") { repo in
            let tags = (0..<1100).map { "t\(10_000 + $0)" }
            try await tag(tags, repo)
            let first = try await repo.get("tags/list?n=100000")
            #expect(first.strings("tags").count == 1000, "the answer is bounded")
            #expect(first["Link"] != nil)
            let all = try await repo.all("\(repo.root)/tags/list") { $0.strings("tags") }
            #expect(all.found == tags && all.pages == 2)
        },
        Rule("end-8a GET", listing, "a repository without any tag has an empty list, an unknown one is NAME_UNKNOWN") {
            repo in
            let unknown = try await repo.get("tags/list")
            #expect(unknown.status == 404 && unknown.registryCode == "NAME_UNKNOWN")
            try await repo.push([1])
            let empty = try await repo.get("tags/list")
            #expect(empty.status == 200 && empty.json["tags"]?.array == [], "\(empty.text)")
        },
    ]

    static let referrers: [Rule] = [
        Rule("end-12a GET", referring, "an index of descriptors with type, size, artifactType and annotations") {
            repo in
            let subject = try await repo.push(manifest: Manifests.numbered(0))
            let more = Manifests.subject(subject)
            let documents = [
                (
                    "explicit", Manifests.oci,
                    Manifests.image(#","artifactType":"application/x.sbom","annotations":{"k":"v"}\#(more)"#)
                ),
                (
                    "config", Manifests.oci,
                    Manifests.image(config: Manifests.descriptor(Manifests.nobody, type: "application/x.sig"), more)
                ),
                ("index", Manifests.index, Manifests.index([], #","artifactType":"application/x.idx"\#(more)"#)),
            ]
            for (_, type, bytes) in documents { try await repo.push(manifest: bytes, type: type) }
            let found = try await repo.referrers(of: subject)
            #expect(found.count == 3)
            for (name, type, bytes) in documents {
                let found = try #require(
                    found.first { $0["digest"]?.string == Digest.of(bytes).description }, "\(name)")
                #expect(found["mediaType"]?.string == type && found["size"]?.integer == Int64(bytes.count), "\(name)")
                let expected = [
                    "explicit": "application/x.sbom", "config": "application/x.sig", "index": "application/x.idx",
                ]
                #expect(found["artifactType"]?.string == expected[name], "\(name)")
                #expect(found["annotations"]?["k"]?.string == (name == "explicit" ? "v" : nil), "\(name)")
            }
        },
        Rule("end-12b GET", referring, "artifactType filters, and the answer says so") { repo in
            let subject = Digest.of([9]).description
            for type in ["application/x.a", "application/x.b+json"] {
                let more = #","artifactType":"\#(type)"\#(Manifests.subject(subject))"#
                try await repo.push(manifest: Manifests.image(more))
            }
            for (filter, types) in [
                ("application/x.a", ["application/x.a"]), ("application/x.b%2Bjson", ["application/x.b+json"]),
                ("application/x.b+json", ["application/x.b+json"]), ("application%2Fx.none", []),
            ] {
                let answer = try await repo.get("referrers/\(subject)?artifactType=\(filter)")
                #expect(answer.status == 200 && answer["OCI-Filters-Applied"] == "artifactType")
                #expect(
                    answer.json["manifests"]?.array?.compactMap { $0["artifactType"]?.string } == types, "\(filter)")
            }
            let all = try await repo.get("referrers/\(subject)")
            #expect(all["OCI-Filters-Applied"] == nil && all.json["manifests"]?.array?.count == 2)
        },
        Rule("end-12a GET", referring, "of a digest that nobody knows it is an empty index, of a malformed one 400") {
            repo in
            for digest in [Manifests.nobody, "sha512:" + String(repeating: "0", count: 128)] {
                #expect(try await repo.referrers(of: digest) == [], "the repository is not there either")
            }
            for digest in malformed where !digest.isEmpty {
                let answer = try await repo.get("referrers/\(digest)")
                #expect(answer.status == 400 && answer.registryCode == "DIGEST_INVALID", "\(digest): \(answer.text)")
            }
        },
        Rule("end-12a GET", referring, "those of one subject are not those of another, nor of another repository") {
            repo in
            let (one, two) = (Digest.of([1], .sha512).description, Digest.of([2]).description)
            let first = try await repo.push(manifest: Manifests.numbered(1, Manifests.subject(one)))
            try await repo.push(manifest: Manifests.numbered(2, Manifests.subject(two)))
            try await repo.other("beside").push(manifest: Manifests.numbered(3, Manifests.subject(one)))
            #expect(try await repo.referrers(of: one).compactMap { $0["digest"]?.string } == [first])
        },
        Rule("end-12a GET", referring, "a deleted referrer is gone at once, and back when it is pushed again") { repo in
            let subject = try await repo.push(manifest: Manifests.numbered(0))
            let referrer = Manifests.numbered(1, Manifests.subject(subject))
            let digest = try await repo.push(manifest: referrer)
            #expect(try await repo.delete("manifests/\(digest)").status == 202)
            #expect(try await repo.referrers(of: subject) == [])
            try await repo.push(manifest: referrer)
            #expect(try await repo.referrers(of: subject).count == 1)
            #expect(try await repo.delete("manifests/\(subject)").status == 202)
            #expect(try await repo.referrers(of: subject).count == 1, "it lives longer than its subject")
        },
        Rule("end-12a GET", referring, "more than a thousand come in pages that Link leads through") { repo in
            let subject = Digest.of([5]).description
            let documents = (0..<1020).map { number in
                let type = number % 2 == 0 ? "application/x.even" : "application/x.odd"
                return Manifests.numbered(number, #","artifactType":"\#(type)"\#(Manifests.subject(subject))"#)
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for lane in 0..<8 {
                    group.addTask {
                        for index in stride(from: lane, to: documents.count, by: 8) {
                            try await repo.push(manifest: documents[index])
                        }
                    }
                }
                try await group.waitForAll()
            }
            func digests(_ answer: Answer) -> [String] {
                (answer.json["manifests"]?.array ?? []).compactMap { $0["digest"]?.string }
            }
            let all = try await repo.all("\(repo.root)/referrers/\(subject)", digests)
            #expect(all.found.count == documents.count && all.pages == 2)
            #expect(Set(all.found) == Set(documents.map { Digest.of($0).description }))
            let odd = try await repo.all("\(repo.root)/referrers/\(subject)?artifactType=application/x.odd", digests)
            #expect(odd.found.count == documents.count / 2)
        },
        Rule("end-12a GET", referring, "no page is larger than a manifest may be, whatever its annotations") { repo in
            let subject = Digest.of([6]).description
            let long = String(repeating: "x", count: 3 << 20)
            for number in 0..<3 {
                let more = #","annotations":{"\#(number)":"\#(long)"}\#(Manifests.subject(subject))"#
                try await repo.push(manifest: Manifests.image(more))
            }
            let all = try await repo.all("\(repo.root)/referrers/\(subject)") { answer in
                #expect(answer.body.count <= 4 << 20, "clients read no more than 4 MiB")
                return (answer.json["manifests"]?.array ?? []).compactMap { $0["digest"]?.string }
            }
            #expect(Set(all.found).count == 3)
        },
    ]

    static let catalog: [Rule] = [
        Rule("GET _catalog", "(Docker's)", "what can be pulled by the user, in pages") { repo in
            let client = repo.client
            let names = (0..<7).map { "guest/catalog-\($0)/x" } + ["guest/catalog-0", "guest/catalog-0-x/y"]
            for name in names { try await Repo(client, name).push(manifest: Manifests.numbered(1)) }
            func listed(_ user: String, _ query: String) async throws -> [String] {
                let all = try await Repo(client, "x", as: user).all("/v2/_catalog\(query)") { answer in
                    answer.strings("repositories")
                }
                #expect(Set(all.found).count == all.found.count, "each once")
                return all.found
            }
            for user in ["guest", "reader"] {
                let found = try await listed(user, "")
                #expect(found.allSatisfy { $0.hasPrefix("guest/") }, "nothing that \(user) may not read")
                #expect(Set(found).isSuperset(of: names))
                for size in [1, 2, 5] { #expect(try await listed(user, "?n=\(size)") == found, "pages of \(size)") }
                #expect(try await listed(user, "?last=\(found[2])") == Array(found[3...]))
            }
            let everything = try await listed("operator", "?n=3")
            #expect(Set(everything).isSuperset(of: names))
            #expect(everything == (try await listed("operator", "")))
            #expect(everything.contains("cistern/tiny"))
        },
        Rule("GET _catalog", "(Docker's)", "a blob, a mount, an upload and a refused manifest make no repository") {
            repo in
            func isListed(_ name: String) async throws -> Bool {
                try await repo.send("GET", "/v2/_catalog?n=1000").strings("repositories").contains(name)
            }
            let blob = try await repo.push([1, 2, 3])
            let mounted = repo.other("mounted")
            #expect(try await mounted.post("?mount=\(blob)&from=\(repo.name)").status == 201)
            _ = try await repo.other("upload").begin()
            #expect(try await repo.put(manifest: [1], "refused").status == 400)
            for name in [repo.name, mounted.name, repo.other("upload").name] { #expect(try await !isListed(name)) }
            let digest = try await repo.push(manifest: Manifests.numbered(1), "a")
            #expect(try await isListed(repo.name))
            #expect(try await repo.delete("manifests/a").status == 202)
            #expect(try await isListed(repo.name), "it is there by its digest")
            #expect(try await repo.delete("manifests/\(digest)").status == 202)
            #expect(try await !isListed(repo.name))
        },
        Rule("GET _catalog", "(Docker's)", "an app is listed as long as it has a droplet that can be pulled") { repo in
            let world = try SharedServer.world()
            let (one, other) = (Droplet("listed one"), Droplet("listed two"))
            func isListed(_ user: String) async throws -> Bool {
                try await repo.asUser(user).send("GET", "/v2/_catalog?n=1000").strings("repositories")
                    .contains("cloudfoundry/listed")
            }
            try await world.upload(one, guid: "listed")
            try await world.upload(other, guid: "listed")
            #expect(try await isListed("operator"))
            #expect(try await isListed("pull"))
            #expect(try await !isListed("guest"), "who may not pull it learns nothing of it")
            for (droplet, isThere) in [(one, true), (other, false)] {
                let removed = try await repo.send("DELETE", "/droplets/listed/\(droplet.sha256)")
                #expect(removed.status == 204, "\(removed.text)")
                #expect(try await isListed("operator") == isThere)
            }
        },
        Rule("GET _catalog", "(Docker's)", "n is held to the same rules as for tags") { repo in
            try await repo.push([1])
            #expect(try await repo.send("GET", "/v2/_catalog?n=0").strings("repositories") == [])
            #expect(try await repo.send("GET", "/v2/_catalog?n=99999999999999999999").status == 200)
            for n in ["-1", "x", ""] {
                let answer = try await repo.send("GET", "/v2/_catalog?n=\(n)")
                #expect(answer.status == 400 && answer.registryCode == "UNSUPPORTED", "\(n)")
            }
        },
    ]

    static let ranges: [Rule] = [
        Rule("end-2 GET", "Pulling blobs", "ranges a-b, a- and -n give 206 and exactly their bytes, beyond the end 416")
        {
            repo in
            let bytes = makeNoise(100_000, seed: "ranges")
            for algorithm in [DigestAlgorithm.sha256, .sha512] {
                let digest = try await repo.push(bytes, algorithm)
                for (range, expected) in [
                    ("0-0", 0..<1), ("5-9", 5..<10), ("99999-", 99_999..<100_000), ("0-", 0..<100_000),
                    ("-1", 99_999..<100_000), ("-300000", 0..<100_000), ("50000-999999", 50_000..<100_000),
                ] {
                    let answer = try await repo.get("blobs/\(digest)", ["Range": "bytes=\(range)"])
                    #expect(answer.status == 206 && answer.body == Array(bytes[expected]), "\(range)")
                    let shown = "bytes \(expected.lowerBound)-\(expected.upperBound - 1)/100000"
                    #expect(answer["Content-Range"] == shown, "\(range)")
                    #expect(answer["Docker-Content-Digest"] == digest)
                }
                for range in ["100000-", "-0", "99999999999999999999-"] {
                    let answer = try await repo.get("blobs/\(digest)", ["Range": "bytes=\(range)"])
                    #expect(answer.status == 416 && answer["Content-Range"] == "bytes */100000", "\(range)")
                }
            }
        },
        Rule("end-2 GET", "Pulling blobs", "of the empty blob every range is 416") { repo in
            let digest = try await repo.push([])
            for range in ["0-", "0-0", "-1"] {
                let answer = try await repo.get("blobs/\(digest)", ["Range": "bytes=\(range)"])
                #expect(answer.status == 416 && answer["Content-Range"] == "bytes */0", "\(range): \(answer.status)")
            }
        },
        Rule("end-3 GET", "Pulling manifests", "If-None-Match gives 304 for what the client has") { repo in
            let digest = try await repo.push(manifest: Manifests.numbered(1), "known")
            let answer = try await repo.get("manifests/known", ["If-None-Match": "\"\(digest)\""])
            #expect(answer.status == 304 && answer["Docker-Content-Digest"] == digest)
            try await repo.push(manifest: Manifests.numbered(2), "known")
            #expect(try await repo.get("manifests/known", ["If-None-Match": "\"\(digest)\""]).status == 200)
        },
    ]

    /// Points many tags to one manifest.
    private static func tag(_ tags: [String], _ repo: Repo) async throws {
        let manifest = Manifests.numbered(0)
        let digest = Digest.of(manifest)
        for start in stride(from: 0, to: tags.count, by: 50) {
            let query = tags[start..<min(start + 50, tags.count)].map { "tag=\($0)" }.joined(separator: "&")
            #expect(try await repo.put(manifest: manifest, "\(digest)?\(query)").status == 201)
        }
    }
}
