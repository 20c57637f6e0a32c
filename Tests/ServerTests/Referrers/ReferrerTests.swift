import Foundation
import JSON
import OCI
import TestSupport
import Testing

extension ServerTests {
    @Suite("Documents about images", .serialized, .sideBySide)
    struct ReferrerTests {
        private static let oci = "application/vnd.oci.image.manifest.v1+json"
        private static let docker = "application/vnd.docker.distribution.manifest.v2+json"
        private static let spdx = "application/spdx+json"
        private static let dsse = "application/vnd.dsse.envelope.v1+json"
        private static let inToto = "application/vnd.in-toto+json"

        private static func makeKey(_ path: String) async throws {
            try await runSuccessfully("openssl", ["genpkey", "-algorithm", "ed25519", "-out", path])
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
        }

        /// What a tool fetches of a referrer, each checked by its digest and size.
        private struct Fetched: Hashable {
            let digest: String
            let type: String
            let document: [UInt8]
            let blob: String
        }

        /// Referrers, then their manifests, then their blobs, as oras and cosign walk.
        private static func walk(_ world: World, _ repository: String, _ subject: String) async throws -> [Fetched] {
            let root = "/v2/\(repository)"
            let list = try await world.client.get("\(root)/referrers/\(subject)")
            try #require(list.status == 200, "\(list.text)")
            #expect(list["Content-Type"] == "application/vnd.oci.image.index.v1+json")
            var fetched: [Fetched] = []
            for descriptor in list.json["manifests"]?.array ?? [] {
                let digest = descriptor["digest"]?.string ?? ""
                let path = "\(root)/manifests/\(digest)"
                let manifest = try await world.client.get(path)
                try #require(manifest.status == 200, "\(manifest.text)")
                #expect(manifest["Content-Type"] == Self.oci && manifest["Docker-Content-Digest"] == digest)
                #expect(Digest.of(manifest.body).description == digest)
                #expect(Int64(manifest.body.count) == descriptor["size"]?.integer)
                let head = try await world.client.head(path)
                #expect(head.status == 200 && head["Content-Length"] == "\(manifest.body.count)")
                #expect(manifest.json["subject"]?["digest"]?.string == subject)
                #expect(manifest.json["artifactType"] == descriptor["artifactType"])
                #expect(manifest.json["annotations"] == descriptor["annotations"])
                let config = try await world.client.get(
                    "\(root)/blobs/\(manifest.json["config"]?["digest"]?.string ?? "")")
                #expect(config.status == 200 && config.text == "{}")
                let blob = manifest.json["layers"]?.array?.first?["digest"]?.string ?? ""
                let document = try await world.client.get("\(root)/blobs/\(blob)")
                try #require(document.status == 200 && Digest.of(document.body).description == blob)
                let size = manifest.json["layers"]?.array?.first?["size"]?.integer
                #expect(size == Int64(document.body.count))
                #expect(
                    try await world.client.head("\(root)/blobs/\(blob)")["Content-Length"] == "\(document.body.count)")
                let part = try await world.client.get("\(root)/blobs/\(blob)", ["Range": "bytes=2-9"])
                #expect(part.status == 206 && part.body == Array(document.body[2...9]))
                let type = descriptor["artifactType"]?.string ?? ""
                fetched.append(Fetched(digest: digest, type: type, document: document.body, blob: blob))
            }
            #expect(fetched.map(\.digest) == fetched.map(\.digest).sorted(), "in byte order")
            return fetched
        }

        private static func digest(_ world: World, _ repository: String, _ tag: String, _ type: String) async throws
            -> String
        {
            let answer = try await world.client.get("/v2/\(repository)/manifests/\(tag)", ["Accept": type])
            try #require(answer.status == 200 && answer["Content-Type"] == type, "\(answer.text)")
            return Digest.of(answer.body).description
        }

        @Test(
            "An image has an SBOM and signed provenance, which openssl verifies, in both vocabularies and after a restart"
        )
        func walks() async throws {
            try await withTemporaryDirectory { directory in
                let (data, key) = (directory + "/data", directory + "/key.pem")
                try await Self.makeKey(key)
                let settings = ["--stack", "tiny", "--provenance-key", key]
                let droplet = Droplet("described")
                var all: [Fetched] = []
                all = try await World.with(data: data, settings) { world in
                    try await RootfsFolder(
                        directory + "/root", status: RootfsFolder.stanza("libc6", "2.36-9")
                    )
                    .importAs("1", of: "tiny", world.server, ["--promote"])
                    try await world.upload(droplet, guid: "app")
                    var all: [Fetched] = []
                    for type in [Self.oci, Self.docker] {
                        let subject = try await Self.digest(world, "cloudfoundry/app", droplet.sha256, type)
                        let fetched = try await Self.walk(world, "cloudfoundry/app", subject)
                        #expect(Set(fetched.map(\.type)) == [Self.spdx, Self.dsse])
                        all += fetched
                        let base = try await Self.digest(world, "cistern/tiny", "1", type)
                        let bills = try await Self.walk(world, "cistern/tiny", base)
                        #expect(bills.map(\.type) == [Self.spdx])
                        let bill = try #require(bills.first)
                        #expect(String(decoding: bill.document, as: UTF8.self).contains("pkg:deb/debian/libc6@2.36-9?"))
                        try Self.verify(fetched, of: subject, droplet, rootfs: bill.document)
                        try await Self.verifySignature(fetched, key: key, directory)

                        let filtered = try await world.client.get(
                            "/v2/cloudfoundry/app/referrers/\(subject)?artifactType=application%2Fspdx%2Bjson")
                        #expect(filtered["OCI-Filters-Applied"] == "artifactType")
                        #expect(filtered.json["manifests"]?.array?.count == 1)
                    }
                    #expect(Set(all.map(\.digest)).count == 4)
                    return all
                }
                let stored = StoreTree(directory: data + "/store").objects()
                let secret = try String(contentsOfFile: key, encoding: .utf8).split(separator: "\n")[1]
                try await World.with(data: data, settings) { world in
                    // By digest, before anybody lists them.
                    for fetched in all {
                        let root = "/v2/cloudfoundry/app"
                        #expect(try await world.client.get("\(root)/blobs/\(fetched.blob)").body == fetched.document)
                        #expect(try await world.client.get("\(root)/manifests/\(fetched.digest)").status == 200)
                        #expect(try await world.client.get("/v2/cloudfoundry/none/blobs/\(fetched.blob)").status == 404)
                        #expect(try await world.client.get("/v2/team/x/blobs/\(fetched.blob)").status == 404)
                    }
                    let guess = Digest.of("guess".utf8).description
                    let missing = try await world.client.get("/v2/cloudfoundry/app/manifests/\(guess)")
                    #expect(missing.status == 404 && missing.registryCode == "MANIFEST_UNKNOWN")
                    let noBlob = try await world.client.get("/v2/cloudfoundry/app/blobs/\(guess)")
                    #expect(noBlob.status == 404 && noBlob.registryCode == "BLOB_UNKNOWN")
                    let none = try await world.client.get("/v2/cloudfoundry/app/referrers/\(guess)")
                    #expect(none.status == 200 && none.json["manifests"] == [])
                    #expect(!world.log.contains(secret), "the key is in no log")
                }
                #expect(StoreTree(directory: data + "/store").objects() == stored, "nothing is stored for it")
                #expect(stored.contains { $0.contains("packages") } && stored.count < 40)
                // Without the key its envelopes are gone; what they hold is there.
                try await World.with(data: data, ["--stack", "tiny"]) { world in
                    let subject = try await Self.digest(world, "cloudfoundry/app", droplet.sha256, Self.oci)
                    let fetched = try await Self.walk(world, "cloudfoundry/app", subject)
                    #expect(Set(fetched.map(\.type)) == [Self.spdx, Self.inToto])
                    let envelope = try #require(all.first { $0.type == Self.dsse })
                    let gone = try await world.client.get("/v2/cloudfoundry/app/blobs/\(envelope.blob)")
                    #expect(gone.status == 404)
                    let payload = try JSONValue(parsing: envelope.document)["payload"]?.string ?? ""
                    #expect(fetched.contains { Data($0.document) == Data(base64Encoded: payload) })
                }
            }
        }

        private static func verify(
            _ fetched: [Fetched], of subject: String, _ droplet: Droplet, rootfs: [UInt8]
        ) throws {
            let bill = try JSONValue(parsing: try #require(fetched.first { $0.type == spdx }).document)
            var sha1 = SHA1Hasher()
            rootfs.withUnsafeBytes { sha1.update($0) }
            let other = bill["externalDocumentRefs"]?.array?.first
            #expect(other?["checksum"]?["checksumValue"]?.string == sha1.finish())
            #expect(other?["spdxDocument"] == (try JSONValue(parsing: rootfs)["documentNamespace"]))
            let envelope = try JSONValue(parsing: try #require(fetched.first { $0.type == dsse }).document)
            let payload = try #require(Data(base64Encoded: envelope["payload"]?.string ?? ""))
            let statement = try JSONValue(parsing: Array(payload))
            #expect("sha256:\(statement["subject"]?.array?.first?["digest"]?["sha256"]?.string ?? "")" == subject)
            let inputs = statement["predicate"]?["buildDefinition"]?["resolvedDependencies"]?.array ?? []
            #expect(inputs.first?["digest"]?["sha256"]?.string == droplet.sha256)
        }

        private static func verifySignature(_ fetched: [Fetched], key: String, _ directory: String) async throws {
            let envelope = try JSONValue(parsing: try #require(fetched.first { $0.type == dsse }).document)
            let payload = try #require(Data(base64Encoded: envelope["payload"]?.string ?? ""))
            let signature = envelope["signatures"]?.array?.first
            let type = envelope["payloadType"]?.string ?? ""
            let signed = Data("DSSEv1 \(type.utf8.count) \(type) \(payload.count) ".utf8) + payload
            try signed.write(to: URL(fileURLWithPath: directory + "/signed"))
            try #require(Data(base64Encoded: signature?["sig"]?.string ?? ""))
                .write(to: URL(fileURLWithPath: directory + "/signature"))
            try await runSuccessfully("openssl", ["pkey", "-in", key, "-pubout", "-out", directory + "/public.pem"])
            let verify = ["pkeyutl", "-verify", "-pubin", "-inkey", directory + "/public.pem", "-rawin"]
            try await runSuccessfully(
                "openssl", verify + ["-in", directory + "/signed", "-sigfile", directory + "/signature"])
            try await runSuccessfully(
                "openssl", ["pkey", "-in", key, "-pubout", "-outform", "DER", "-out", directory + "/public.der"])
            let sum = try await runSuccessfully("sha256sum", [directory + "/public.der"]).output
            #expect(signature?["keyid"]?.string == String(sum.prefix(64)))
        }

        @Test("Signatures that are pushed stand beside them in one list")
        func pushed() async throws {
            try await World.with(["--stack", "tiny"]) { world in
                try await world.server.importTinyRootfs(version: "1")
                let droplet = Droplet("signed by hand")
                try await world.upload(droplet, guid: "app")
                let subject = try await Self.digest(world, "cloudfoundry/app", droplet.sha256, Self.oci)
                let derived = try await Self.walk(world, "cloudfoundry/app", subject).map(\.digest)
                let repo = Repo(world.client, "cloudfoundry/app", as: "operator")
                var pushed: [String] = []
                for number in 1...3 {
                    let bytes = Array("signature \(number)".utf8)
                    let blob = try await repo.push(bytes)
                    let layer = Manifests.descriptor(blob, size: bytes.count)
                    let more = #","subject":\#(Manifests.descriptor(subject, size: 1, type: Self.oci))"#
                    let manifest = Manifests.image(layers: [layer], more)
                    pushed.append(try await repo.push(manifest: manifest))
                    try await repo.expectBlob(blob, bytes)
                    try await repo.expectManifest(pushed[number - 1], manifest)
                }
                let listed = try await repo.referrers(of: subject).compactMap { $0["digest"]?.string }
                #expect(listed == (derived + pushed).sorted())
                let rest = try await repo.referrers(
                    of: subject, "?last=sha256-\(listed[1].dropFirst(7))"
                ).compactMap { $0["digest"]?.string }
                #expect(rest == Array(listed.dropFirst(2)))
                // A copy of a derived one, pushed: it is listed once.
                let copy = try await repo.get("manifests/\(derived[0])")
                try await repo.push(manifest: copy.body)
                let again = try await repo.referrers(of: subject).compactMap { $0["digest"]?.string }
                #expect(again == listed)
            }
        }

        @Test("A key that can't be used, or that others can read, is refused before anything starts")
        func refusedKeys() async throws {
            try await withTemporaryDirectory { directory in
                let key = directory + "/key.pem"
                func errors(_ paths: String) async throws -> String {
                    let result = try await run(
                        "cistern",
                        ["serve", "--data", directory + "/data", "--provenance-key", paths, "--print-config"],
                        timeout: .seconds(60))
                    #expect([1, 2].contains(result.status) != result.errors.isEmpty, "\(result.status)")
                    return result.errors
                }
                try await Self.makeKey(key)
                #expect(try await errors(key).isEmpty)
                #expect(try await errors(key + "," + key).contains("twice"))
                #expect(try await errors(directory + "/none.pem").contains("No such file"))
                #expect(try await errors(directory).contains("no regular file"))
                for mode in [0o644, 0o640, 0o604, 0o660] {
                    try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: key)
                    let said = try await errors(key)
                    #expect(said.contains("chmod 600") && said.contains(key))
                }
                let secret = try String(contentsOfFile: key, encoding: .utf8).split(separator: "\n")[1]
                for (name, arguments) in [
                    ("rsa", ["genpkey", "-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key]),
                    ("public", ["pkey", "-in", directory + "/second.pem", "-pubout", "-out", key]),
                    (
                        "encrypted",
                        ["pkcs8", "-topk8", "-in", directory + "/second.pem", "-passout", "pass:secret", "-out", key]
                    ),
                ] {
                    try await Self.makeKey(directory + "/second.pem")
                    try await runSuccessfully("openssl", arguments)
                    try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: key)
                    let said = try await errors(key)
                    #expect(said.contains("can't sign provenance") && said.contains("genpkey"), "\(name): \(said)")
                    #expect(!said.contains(secret) && !said.contains("PRIVATE KEY"))
                }
            }
        }
    }
}
