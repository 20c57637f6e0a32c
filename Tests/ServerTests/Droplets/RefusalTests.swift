import Foundation
import JSON
import OCI
import TestSupport
import Testing

extension ServerTests {
    @Suite("Droplets that are refused", .serialized, .sideBySide)
    struct RefusalTests {
        /// A refusal in the controller's words.
        private static func expect(
            _ answer: Answer, _ status: Int, _ codes: Set<Int64>, _ comment: Comment,
            location: SourceLocation = #_sourceLocation
        ) {
            #expect(answer.status == status, "\(comment): \(answer.text)", sourceLocation: location)
            #expect(answer["Content-Type"] == "application/json", comment, sourceLocation: location)
            #expect(
                codes.contains(answer.json["code"]?.integer ?? 0), "\(comment): \(answer.text)",
                sourceLocation: location)
            let description = answer.json["description"]?.string ?? ""
            #expect(!description.isEmpty && description.utf8.count < 1000, "\(comment)", sourceLocation: location)
        }

        @Test("A wrong checksum, name, form or query is refused, and nothing of it stays")
        func refused() async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                let before = try await World.with(data: data, ["--stack", "tiny"]) { world in
                    try await world.server.importTinyRootfs()
                    try await world.upload(Droplet("good"), guid: "good")
                    return world.store
                }
                let objects = before.objects()
                try await World.with(data: data, ["--stack", "tiny", "--limits-droplet-bytes", "100000"]) { world in
                    try await Self.wrongChecksums(world.client)
                    try await Self.wrongNames(world.client)
                    try await Self.wrongForms(world.client)
                    try await Self.tooLarge(world.client)
                    #expect(world.store.unfinished() == [])
                    let list = try await world.client.get("/api/v1/droplets", as: "operator")
                    #expect(list.json["droplets"]?.array?.count == 1, "only the good one is there")
                    #expect(!world.log.contains(#""status":5"#), "no request failed inside")
                }
                #expect(before.objects() == objects)
            }
        }

        private static func wrongChecksums(_ client: Client) async throws {
            let droplet = Droplet("wrong")
            let other = Droplet("other")
            for hash in [other.sha256, other.sha1, String(repeating: "0", count: 64)] {
                let answer = try await client.send(
                    "PUT", "/droplets/wrong/\(hash)", as: "operator", body: droplet.bytes)
                expect(answer, 400, [290003], "the hash \(hash)")
            }
            // Known bytes under a known hash are not taken on trust either.
            let answer = try await client.send(
                "PUT", "/droplets/wrong/\(Droplet("good").sha256)", as: "operator", body: droplet.bytes)
            expect(answer, 400, [290003], "another droplet's hash")
            for header in [
                "sha256=\(other.sha256)", "md5=abc", "sha256=", "sha256", "", "sha256=xyz", "sha256=\(other.sha1)",
            ] {
                let answer = try await client.send(
                    "PUT", "/droplets/wrong", as: "operator", ["Digest": header], body: droplet.bytes)
                expect(answer, 400, [290003], "the header Digest: \(header)")
            }
            expect(
                try await client.send("PUT", "/droplets/wrong", as: "operator", body: droplet.bytes), 400, [290003],
                "no header")
        }

        private static func wrongNames(_ client: Client) async throws {
            let droplet = Droplet("wrong")
            let hash = droplet.sha256
            for name in [
                "latest", hash.uppercased(), String(hash.dropLast()), hash + "0", "sha256:\(hash)", "%2e%2e", "..",
                "%00", "g" + hash.dropFirst(),
                String(repeating: "0", count: 128),
            ] {
                let answer = try await client.send(
                    "PUT", "/droplets/wrong/\(name)", as: "operator", body: droplet.bytes)
                expect(answer, 400, [290003, 290008], "the hash '\(name)'")
            }
            for guid in [
                "..", "%2e%2e", "%2e%2e%2fescape", "a%00b", "a%2fb", "UPPER", "a%20b", "-a", "a_", ".a", "%ff", "a%",
                String(repeating: "a", count: 300),
            ] {
                let answer = try await client.send(
                    "PUT", "/droplets/\(guid)/\(hash)", as: "operator", body: droplet.bytes)
                expect(answer, 400, [290003, 290008], "the guid '\(guid)'")
            }
            for query in [
                "stack=../x", "stack=", "stack=a%2fb", "stack=%zz", "arch=", "arch=pdp11", "arch=..",
                "stack=current%00",
            ] {
                let path = "/droplets/wrong/\(hash)?\(query)"
                let answer = try await client.send("PUT", path, as: "operator", body: droplet.bytes)
                expect(answer, 400, [290003, 290008], "the query \(query)")
            }
        }

        private static func wrongForms(_ client: Client) async throws {
            let droplet = Droplet("wrong")
            let type = Multipart.contentType
            for (form, why) in [
                (Multipart([("package", droplet.bytes)]), "no field of the name"),
                (Multipart([("droplet", droplet.bytes), ("bits", droplet.bytes)]), "two files"),
                (Multipart([("droplet", droplet.bytes), ("droplet", droplet.bytes)]), "the file twice"),
                (Multipart([("droplet", droplet.bytes)], isComplete: false), "no last boundary"),
                (Multipart([]), "no field"),
                (Multipart([], isComplete: false), "nothing at all"),
            ] {
                let answer = try await client.send(
                    "PUT", "/droplets/wrong/\(droplet.sha256)", as: "operator", type, body: form.body)
                expect(answer, 400, [290003], "a form with \(why)")
            }
            for type in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=a"] {
                let answer = try await client.send(
                    "PUT", "/droplets/wrong/\(droplet.sha256)", as: "operator", ["Content-Type": type],
                    body: droplet.bytes)
                expect(answer, 400, [290003], "the type \(type)")
            }
        }

        private static func tooLarge(_ client: Client) async throws {
            let droplet = Droplet("too large", noise: 200_000)
            let path = "/droplets/wrong/\(droplet.sha256)"
            let answer = try await client.send("PUT", path, as: "operator", body: droplet.bytes)
            #expect(answer.status == 413)
            let form = Multipart([("droplet", droplet.bytes)])
            #expect(
                try await client.send("PUT", path, as: "operator", Multipart.contentType, body: form.body).status == 413
            )
        }

        @Test(
            "Each hostile droplet gets its 422 or 413, by name of the entry, and leaves nothing",
            .timeLimit(.minutes(5)))
        func hostile() async throws {
            let droplets = try await Fixtures.hostile()
            #expect(droplets.count > 100)
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                let store = try await World.with(data: data) { $0.store }
                let objects = store.objects()
                // The bombs unpack to 20 GiB and 1,100,000 entries: lower limits find them sooner than the defaults.
                let limits = ["--limits-unpacked-bytes", "268435456", "--limits-entries", "10000"]
                try await World.with(data: data, limits) { world in
                    for droplet in droplets {
                        let bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: droplet.path)))
                        let answer = try await world.client.send(
                            "PUT", "/droplets/hostile/\(Digest.of(bytes).hex)", as: "operator", body: bytes)
                        Self.expect(answer, droplet.refusal ?? 0, [290008], "\(droplet.name): \(droplet.why)")
                        if droplet.name.hasPrefix("device-") || droplet.name.hasPrefix("below-symlink") {
                            #expect(answer.json["description"]?.string?.contains("app/") == true, "\(answer.text)")
                        }
                    }
                    #expect(world.store.unfinished() == [])
                    #expect(try await world.client.get("/api/v1/droplets", as: "operator").json["droplets"] == [])
                }
                #expect(store.objects() == objects)
            }
        }

        @Test("Each awkward droplet is taken, and comes back byte by byte", .timeLimit(.minutes(5)))
        func awkward() async throws {
            try await World.with(["--stack", "tiny"]) { world in
                try await world.server.importTinyRootfs()
                let droplets = try await Fixtures.awkward()
                #expect(droplets.count > 10)
                for droplet in droplets {
                    let bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: droplet.path)))
                    let path = "/droplets/awkward/\(Digest.of(bytes).hex)"
                    let answer = try await world.client.send("PUT", path, as: "operator", body: bytes)
                    #expect(answer.status == 201, "\(droplet.name): \(droplet.why): \(answer.text)")
                    #expect(try await world.client.get(path, as: "operator").body == bytes, "\(droplet.name)")
                    try await Image(Digest.of(bytes).hex, of: "cloudfoundry/awkward", from: world.client).verifyLayers(
                        from: world.client)
                }
            }
        }
    }
}
