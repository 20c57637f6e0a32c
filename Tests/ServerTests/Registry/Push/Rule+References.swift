import JSON
import OCI
import Testing

extension Rule {
    private static let section = "Pushing Manifests"

    /// What manifests name.
    static let references: [Rule] = [
        Rule("end-7 PUT", section, "a sparse manifest or index, whose content was never here, is taken") { repo in
            let layer = Manifests.descriptor(Digest.of([1]).description)
            let manifest = Manifests.image(layers: [layer, layer])
            try await repo.expectManifest(try await repo.push(manifest: manifest), manifest)
            let child = Manifests.descriptor(Digest.of([2]).description, type: Manifests.oci)
            let index = Manifests.index([child])
            let digest = try await repo.push(manifest: index, "sparse", type: Manifests.index)
            try await repo.expectManifest(digest, index, type: Manifests.index)
        },
        Rule("end-7 PUT", section, "content that came before it, or comes after it, is no hindrance") { repo in
            let blob = makeNoise(1000, seed: "later")
            let layer = Manifests.descriptor(Digest.of(blob).description, size: blob.count)
            let manifest = Manifests.image(layers: [layer])
            let digest = try await repo.push(manifest: manifest, "early")
            let index = Manifests.index([Manifests.descriptor(digest, size: manifest.count, type: Manifests.oci)])
            try await repo.push(manifest: index, "index", type: Manifests.index)
            try await repo.expectBlob(try await repo.push(blob), blob)
            try await repo.expectManifest("early", manifest)
        },
        Rule("end-7 PUT", section, "content of another size than the manifest says is 400 MANIFEST_INVALID") { repo in
            let blob = try await repo.push(makeNoise(1000, seed: "sized"))
            let child = Manifests.numbered(1)
            let manifest = try await repo.push(manifest: child)
            func expectRefused(_ document: [UInt8], _ type: String, _ digest: String, _ size: Int) async throws {
                let answer = try await repo.put(manifest: document, "sized", type: type)
                #expect(answer.status == 400 && answer.registryCode == "MANIFEST_INVALID", "\(answer.text)")
                #expect(answer.text.contains(digest) && answer.text.contains(" \(size)"), "\(answer.text)")
                try await repo.expectNoManifest("sized")
                try await repo.expectNoManifest(Digest.of(document).description)
            }
            for wrong in [0, 999, 1001, Int.max] {
                let descriptor = Manifests.descriptor(blob, size: wrong)
                let right = Manifests.descriptor(blob, size: 1000)
                for document in [
                    Manifests.image(config: descriptor), Manifests.image(layers: [descriptor]),
                    Manifests.image(layers: [right, descriptor]),
                ] {
                    try await expectRefused(document, Manifests.oci, blob, 1000)
                }
                let children = [Manifests.descriptor(manifest, size: wrong, type: Manifests.oci)]
                try await expectRefused(Manifests.index(children), Manifests.index, manifest, child.count)
            }
            let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar"
            try await expectRefused(
                Manifests.image(layers: [Manifests.descriptor(blob, size: 1, type: foreign)]), Manifests.oci, blob, 1000
            )
        },
        Rule("end-7 PUT", section, "non-distributable layers need not be there") { repo in
            let types = [
                "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            ]
            for type in types {
                let layer = Manifests.descriptor(
                    Digest.of([3]).description, type: type, #","urls":["https://example.com/layer"]"#)
                let manifest = Manifests.image(layers: [layer])
                try await repo.expectManifest(try await repo.push(manifest: manifest), manifest)
            }
        },
        Rule("end-7 PUT", section, "a manifest makes no blob of another repository readable, of whatever type it is") {
            repo in
            let secret = makeNoise(1000, seed: "another tenant's")
            let digest = try await Repo(repo.client, "hidden/blobs").push(secret)
            let team = repo.asUser("team")
            let descriptor = Manifests.descriptor(digest, size: secret.count)
            try await team.push(manifest: Manifests.image(config: descriptor, layers: [descriptor]), "blob")
            try await team.push(manifest: Manifests.index([descriptor]), "index", type: Manifests.index)
            try await team.push(manifest: Array("{\"x\":\(descriptor)}".utf8), "other", type: "application/x+json")
            try await team.push(manifest: Manifests.numbered(1, Manifests.subject(digest)), "subject")
            try await team.expectNoBlob(digest)
            try await team.expectNoManifest(digest)
            #expect(try await team.post("?mount=\(digest)&from=\(team.name)").status == 202, "nor can it be mounted")
        },
        Rule("end-7 PUT", section, "nor does one make another repository's manifest readable") { repo in
            let secret = Manifests.image(#","annotations":{"secret":"another tenant's"}"#)
            let digest = try await Repo(repo.client, "hidden/manifests").push(manifest: secret)
            let team = repo.asUser("team")
            let child = Manifests.descriptor(digest, size: secret.count, type: Manifests.oci)
            try await team.push(manifest: Manifests.index([child]), "index", type: Manifests.index)
            try await team.expectNoManifest(digest)
            try await team.expectNoBlob(digest)
        },
        Rule("end-2 GET, end-3 GET", "Pulling", "a blob is no manifest, and a manifest no blob") { repo in
            let manifest = Manifests.numbered(2)
            let blob = try await repo.push(manifest)
            try await repo.expectNoManifest(blob)
            let other = try await repo.push(manifest: Manifests.numbered(3))
            try await repo.expectNoBlob(other)
        },
        Rule("end-7 PUT", "Pushing Manifests with Subject", "the answer names the subject, there or not") { repo in
            let there = try await repo.push(manifest: Manifests.numbered(4))
            for subject in [there, Digest.of([4]).description, Digest.of([4], .sha512).description] {
                let manifest = Manifests.numbered(5, Manifests.subject(subject))
                let answer = try await repo.put(manifest: manifest, Digest.of(manifest).description)
                #expect(answer.status == 201 && answer["OCI-Subject"] == subject, "\(answer.text)")
                let index = Manifests.index([], Manifests.subject(subject))
                let second = try await repo.put(manifest: index, "index", type: Manifests.index)
                #expect(second.status == 201 && second["OCI-Subject"] == subject, "\(second.text)")
            }
            let plain = try await repo.put(manifest: Manifests.numbered(6), "plain")
            #expect(plain["OCI-Subject"] == nil)
        },
        Rule("end-7 PUT", "Pushing Manifests with Subject", "a subject that is no descriptor is 400") { repo in
            for subject in ["1", "{}", #"{"digest":"sha256:x","mediaType":"a/b","size":1}"#, "[]", "\"\""] {
                let manifest = Manifests.numbered(7, #","subject":\#(subject)"#)
                let answer = try await repo.put(manifest: manifest, "subject")
                #expect(answer.status == 400 && answer.registryCode == "MANIFEST_INVALID", "\(subject): \(answer.text)")
            }
            try await repo.expectNoManifest("subject")
        },
    ]

    /// `cloudfoundry/` and `cistern/` are derived: they take what refers to their images.
    static let reserved: [Rule] = [
        Rule("end-7 PUT", section, "reserved repositories take referrers and signature tags, and show them") { _ in
            let world = try SharedServer.world()
            let droplet = Droplet("reserved")
            try await world.upload(droplet, guid: "reserved")
            for (name, tag) in [("cloudfoundry/reserved", droplet.sha256), ("cistern/tiny", "1")] {
                let repo = Repo(world.client, name)
                let image = try await Image(tag, of: name, from: world.client)
                let before = try await repo.tags()
                let derived = try await repo.referrers(of: image.digest).compactMap { $0["digest"]?.string }
                let subject = Manifests.subject(image.digest)
                let referrer = Manifests.image(#","artifactType":"application/x.sbom"\#(subject)"#)
                let layer = try await repo.push(makeNoise(100, seed: "signature of \(name)"))
                let signature = Manifests.image(layers: [Manifests.descriptor(layer, size: 100)])
                let signatureTag = image.digest.replacing(":", with: "-") + ".sig"
                try await repo.push(manifest: referrer)
                try await repo.push(manifest: signature, signatureTag)
                let fallback = image.digest.replacing(":", with: "-")
                try await repo.push(manifest: Manifests.index([]), fallback, type: Manifests.index)
                try await repo.expectManifest(Digest.of(referrer).description, referrer)
                try await repo.expectManifest(signatureTag, signature)
                let listed = try await repo.referrers(of: image.digest)
                let all = (derived + [Digest.of(referrer).description]).sorted()
                #expect(listed.compactMap { $0["digest"]?.string } == all, "what is derived, and what was pushed")
                #expect(try await repo.tags() == (before + [fallback, signatureTag]).sorted())
                let same = try await Image(tag, of: name, from: world.client)
                #expect(same.digest == image.digest, "the image is as it was")
                for size in [1, 2, 3] {
                    let paged = try await repo.all("\(repo.root)/tags/list?n=\(size)") { $0.strings("tags") }
                    #expect(paged.found == (before + [fallback, signatureTag]).sorted(), "pages of \(size)")
                }
                #expect(try await repo.delete("manifests/\(signatureTag)").status == 202)
                try await repo.expectNoManifest(signatureTag)
            }
        },
        Rule("end-7 PUT", section, "and nothing that could be mistaken for an image: 403 DENIED") { _ in
            let world = try SharedServer.world()
            let droplet = Droplet("mistaken")
            try await world.upload(droplet, guid: "mistaken")
            let manifest = Manifests.numbered(1)
            let digest = Digest.of(manifest).description
            let referrer = Manifests.numbered(2, Manifests.subject(digest))
            for (name, tags) in [
                ("cloudfoundry/mistaken", ["latest", droplet.sha256, "\(droplet.sha256)-1", "sha256-short", "sha1-x"]),
                ("cistern/tiny", ["1", "current", "9"]),
                ("cistern/never-imported", ["1"]), ("cloudfoundry/never-uploaded", ["latest"]),
            ] {
                let repo = Repo(world.client, name)
                for tag in tags {
                    for document in [manifest, referrer] {
                        let answer = try await repo.put(manifest: document, tag)
                        #expect(
                            answer.status == 403 && answer.registryCode == "DENIED", "\(name):\(tag) \(answer.text)")
                    }
                    let byDigest = try await repo.put(
                        manifest: referrer, "\(Digest.of(referrer))?tag=\(tag)")
                    #expect(byDigest.status == 403)
                }
                #expect(try await repo.put(manifest: manifest, digest).status == 403, "\(name) by digest")
                try await repo.expectNoManifest(digest)
            }
        },
        Rule("end-4a POST", section, "a push to where no image is, is refused at its first blob: 403 DENIED") { _ in
            let client = try SharedServer.world().client
            for name in ["cloudfoundry/no-droplet", "cistern/no-version"] {
                let repo = Repo(client, name)
                let digest = Digest.of([1])
                for query in ["", "?digest=\(digest)", "?mount=\(digest)&from=cistern/tiny"] {
                    let answer = try await repo.post(query, [1])
                    #expect(answer.status == 403 && answer.registryCode == "DENIED", "\(name)\(query) \(answer.text)")
                }
                let referrer = Manifests.numbered(5, Manifests.subject(Manifests.nobody))
                #expect(try await repo.put(manifest: referrer, Digest.of(referrer).description).status == 403)
                #expect(try await repo.get("tags/list").status == 404, "and nothing came of it")
            }
        },
        Rule(
            "end-4a POST, end-7 PUT", section,
            "where an image is, blobs of referrers and of images look alike till the manifest"
        ) { _ in
            let world = try SharedServer.world()
            let droplet = Droplet("pushed-at")
            try await world.upload(droplet, guid: "pushed-at")
            let repo = Repo(world.client, "cloudfoundry/pushed-at")
            // Nothing in these requests says what the blob is for, and `oras attach` sends folders as tar+gzip layers too.
            let blob = Array("a layer, or the folder of an artifact".utf8)
            try await repo.expectBlob(try await repo.push(blob), blob)
            let refused = try await repo.put(manifest: Manifests.numbered(6), "latest")
            #expect(refused.status == 403 && refused.registryCode == "DENIED", "\(refused.text)")
            #expect(refused.text.contains("only referrers and signature tags are taken"))
            let image = try await Image(droplet.sha256, of: "cloudfoundry/pushed-at", from: world.client)
            let referrer = Manifests.numbered(7, Manifests.subject(image.digest))
            #expect(try await repo.put(manifest: referrer, Digest.of(referrer).description).status == 201)
        },
        Rule("end-9, end-10 DELETE", "Content Management", "what is derived goes with what it is derived from: 405") {
            _ in
            let world = try SharedServer.world()
            let droplet = Droplet("undeletable")
            try await world.upload(droplet, guid: "undeletable")
            for (name, tags, command) in [
                (
                    "cloudfoundry/undeletable", [droplet.sha256, "\(droplet.sha256)-1", droplet.sha1],
                    "droplet remove --guid undeletable --hash \(droplet.sha256)"
                ),
                ("cistern/tiny", ["1", "current"], "rootfs remove --stack tiny --version 1"),
            ] {
                let repo = Repo(world.client, name)
                let image = try await Image(tags[0], of: name, from: world.client)
                let document = try #require(try await repo.referrers(of: image.digest).first?["digest"]?.string)
                var targets = (tags + [image.digest, document]).map { ("manifests/\($0)", command) }
                targets.append(("blobs/\(image.configDigest)", command))
                targets.append(("blobs/\(image.layerDigests[0])", "rootfs remove --stack tiny --version 1"))
                if let own = image.layerDigests.last { targets.append(("blobs/\(own)", command)) }
                for (target, command) in targets {
                    let answer = try await repo.delete(target)
                    #expect(answer.status == 405 && answer.registryCode == "UNSUPPORTED", "\(target): \(answer.text)")
                    #expect(answer["Allow"] == "GET, HEAD")
                    #expect(answer.text.contains("cistern \(command)"), "\(target): \(answer.text)")
                    #expect(try await repo.status(target) == 200, "\(target)")
                }
                for target in ["manifests/no-such-tag", "manifests/\(Manifests.nobody)", "blobs/\(Manifests.nobody)"] {
                    #expect(try await repo.delete(target).status == 404, "\(name) \(target)")
                }
            }
        },
        Rule("end-4a POST, end-7 PUT", section, "reserved names that are nothing's take nothing: 403 DENIED") { _ in
            let client = try SharedServer.world().client
            let referrer = Manifests.numbered(3, Manifests.subject(Manifests.nobody))
            for name in ["cloudfoundry", "cistern", "cloudfoundry/a/b", "cistern/a/b"] {
                let repo = Repo(client, name)
                #expect(try await repo.post().status == 403, "\(name)")
                #expect(try await repo.post("?digest=\(Digest.of([1]))", [1]).status == 403, "\(name)")
                let pushed = try await repo.put(manifest: referrer, Digest.of(referrer).description)
                #expect(pushed.status == 403 && pushed.registryCode == "DENIED", "\(name)")
            }
        },
        Rule("end-7 PUT", section, "names that only begin like reserved ones are anybody's") { _ in
            let client = try SharedServer.world().client
            for name in ["cloudfoundryx/a", "cisterns", "a/cistern/b", "my/cloudfoundry"] {
                let repo = Repo(client, name)
                try await repo.push(manifest: Manifests.numbered(4), "latest")
                try await repo.expectBlob(try await repo.push([1, 2, 3]), [1, 2, 3])
            }
        },
    ]
}
