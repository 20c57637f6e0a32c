import Archive
import BitsAPI
import Droplets
import Foundation
import HTTPTypes
import Images
import JSON
import OCI
import ObjectStore
import Testing

@testable import HTTPServer

@Suite("Droplets, as the cloud controller's client sends and fetches them")
struct DropletRouteTests {
    private static let digest = HTTPField.Name("Digest")
    private static let buildpacks = HTTPField.Name("Cistern-Buildpacks")

    private static func expectTaken(_ answer: BitsWorld.Answer, _ droplet: SampleDroplet) {
        #expect(answer.status == 201, "\(answer.json)")
        #expect(answer.headers[.contentType] == "application/json")
        #expect(answer.json["state"] == "READY" && answer.json["type"] == "bits")
        #expect(answer.json["sha1"] == .string(droplet.sha1) && answer.json["sha256"] == .string(droplet.sha256))
    }

    @Test(
        "One that is named by either checksum comes back by either, byte by byte, until it is deleted",
        arguments: [true, false])
    func lifecycle(isSHA256: Bool) async throws {
        let world = try BitsWorld()
        let droplet = SampleDroplet("hello")
        let names = [droplet.sha256, droplet.sha1]
        Self.expectTaken(
            try await world.send(.put, "/droplets/app/\(names[isSHA256 ? 0 : 1])", body: droplet.bytes), droplet)
        for name in names {
            let answer = try await world.send(.get, "/droplets/app/\(name)")
            #expect(answer.status == 200 && answer.body == droplet.bytes)
            let part = try await world.send(.get, "/droplets/app/\(name)", [.range: "bytes=2-5"])
            #expect(part.status == 206 && part.body == Array(droplet.bytes[2...5]))
            #expect(try await world.send(.get, "/droplets/other/\(name)").status == 404, "another app's")
        }
        #expect(try await world.send(.delete, "/droplets/app/\(names[1])").status == 204)
        for (method, name) in [(HTTPRequest.Method.get, names[0]), (.delete, names[0]), (.get, names[1])] {
            let answer = try await world.send(method, "/droplets/app/\(name)")
            #expect(answer.status == 404 && answer.code == 10010)
        }
    }

    @Test("Stack and architecture are those of the query, else the settings'")
    func base() async throws {
        let world = try BitsWorld()
        let (plain, named) = (SampleDroplet("plain"), SampleDroplet("named"))
        Self.expectTaken(try await world.send(.put, "/droplets/app/\(plain.sha256)", body: plain.bytes), plain)
        let path = "/droplets/app/\(named.sha256)?stack=own&arch=arm64"
        Self.expectTaken(try await world.send(.put, path, body: named.bytes), named)
        let records = try await world.droplets.droplets(of: try DropletGUID("app"))
        let bases = Dictionary(uniqueKeysWithValues: records.map { ($0.hash, "\($0.stack) \($0.architecture)") })
        #expect(bases == [plain.sha256: "default amd64", named.sha256: "own arm64"])
    }

    @Test("The answer says what it was taken for, and another stack or architecture for the same droplet is 409")
    func otherBase() async throws {
        let world = try BitsWorld()
        let droplet = SampleDroplet("based")
        let path = "/droplets/app/\(droplet.sha256)"
        let first = try await world.send(.put, path + "?stack=own&arch=arm64", body: droplet.bytes)
        Self.expectTaken(first, droplet)
        for answer in [first, try await world.send(.put, path, body: droplet.bytes)] {
            #expect(answer.json["stack"] == "own" && answer.json["architecture"] == "arm64", "\(answer.json)")
            #expect(answer.json["image"] == .string("bits.example:8443/cloudfoundry/app:\(droplet.sha256)"))
        }
        let copied = Array(#"{"source_guid":"app"}"#.utf8)
        for (target, body) in [
            ("\(path)?stack=other", droplet.bytes), ("\(path)?arch=amd64", droplet.bytes),
            ("/droplets/app/\(droplet.sha1)?stack=default", droplet.bytes),
            ("/droplets/copy/\(droplet.sha256)?stack=other", copied),
        ] {
            let answer = try await world.send(.put, target, body: body)
            #expect(answer.status == 409 && answer.code == 290008, "\(target): \(answer.json)")
            let said = answer.json["description"]?.string ?? ""
            #expect(said.contains("stack own on arm64") && said.contains("cistern droplet remove"), "\(said)")
        }
        Self.expectTaken(try await world.send(.put, path + "?stack=own&arch=arm64", body: droplet.bytes), droplet)
        Self.expectTaken(
            try await world.send(.put, "/droplets/copy/\(droplet.sha256)?stack=own", body: copied), droplet)
    }

    @Test("What made it and whose it is come with it")
    func stated() async throws {
        let world = try BitsWorld()
        let droplet = SampleDroplet("stated")
        let sha256 = "sha256:" + String(repeating: "ab", count: 32)
        let header = #"[{"name":"ruby","version":"1.10:~2","source":"\#(sha256)","more":1},{"name":"ruby"}]"#
        let path = "/droplets/app/\(droplet.sha256)?org=Acme%20Inc.&space=3f1f"
        Self.expectTaken(
            try await world.send(.put, path, [try #require(Self.buildpacks): header], body: droplet.bytes), droplet)
        let record = try #require(try await world.droplets.droplets(of: try DropletGUID("app")).first)
        #expect(record.content.staged.map(\.name) == ["ruby", "ruby"])
        #expect(record.content.staged.map(\.version) == ["1.10:~2", ""])
        #expect(record.content.staged.map(\.source?.text) == [sha256, nil])
        #expect(record.owner.org == "Acme Inc." && record.owner.space == "3f1f")
    }

    @Test(
        "A statement of buildpacks that is not right is refused before anything is taken",
        arguments: [
            "", "{}", "[1]", "[{}]", #"[{"name":""}]"#, #"[{"name":"a b"}]"#, #"[{"name":"a","version":1}]"#,
            #"[{"name":"a","version":"\u0000"}]"#, #"[{"name":"a","source":"sha256:ab"}]"#,
            #"[{"name":"a","source":"md5:ab"}]"#, #"[{"name":"a","source":"git:main"}]"#, "[",
            "[" + [String](repeating: #"{"name":"a"}"#, count: 33).joined(separator: ",") + "]",
            "[" + String(repeating: " ", count: 4 << 10) + "]",
        ])
    func badStatement(header: String) async throws {
        let world = try BitsWorld()
        let droplet = SampleDroplet("stated")
        let path = "/droplets/app/\(droplet.sha256)"
        let answer = try await world.send(.put, path, [try #require(Self.buildpacks): header], body: droplet.bytes)
        #expect(answer.status == 400 && answer.code == 290003)
        #expect(answer.json["description"]?.string?.contains("Cistern-Buildpacks") == true)
        #expect(try await world.send(.get, path).status == 404)
    }

    @Test("A Digest header has a SHA-256 in hexadecimal or base64, among others")
    func digestHeader() async throws {
        let world = try BitsWorld()
        let droplet = SampleDroplet("digest")
        let name = try #require(Self.digest)
        var hasher = DigestHasher(.sha256)
        hasher.update(droplet.bytes)
        let base64 = Data(hasher.bytes()).base64EncodedString()
        for value in [
            "sha256=\(droplet.sha256)", "SHA-256=\(base64)", "md5=x, sha-256=\(base64)",
            " sha256 = \(droplet.sha256.uppercased()) ",
        ] {
            let answer = try await world.send(.put, "/droplets/app", [name: value], body: droplet.bytes)
            Self.expectTaken(answer, droplet)
        }
        for value in ["", "sha256", "sha256=", "sha256=xyz", "md5=\(base64)", "sha256=\(droplet.sha1)"] {
            let answer = try await world.send(.put, "/droplets/app", [name: value], body: droplet.bytes)
            #expect(answer.status == 400 && answer.code == 290003, "\(value)")
        }
        #expect(try await world.send(.put, "/droplets/app", body: droplet.bytes).status == 400)
    }

    @Test("A form has it in the field droplet or bits", arguments: ["droplet", "bits", "other"])
    func form(field: String) async throws {
        let world = try BitsWorld()
        let droplet = SampleDroplet("form")
        let head = "--x\r\nContent-Disposition: form-data; name=\"\(field)\"; filename=\"f\"\r\n\r\n"
        let body = Array(head.utf8) + droplet.bytes + Array("\r\n--x--\r\n".utf8)
        let answer = try await world.send(
            .put, "/droplets/app/\(droplet.sha256)", [.contentType: "multipart/form-data; boundary=x"], body: body)
        if field == "other" {
            #expect(answer.status == 400 && answer.code != nil)
        } else {
            Self.expectTaken(answer, droplet)
        }
    }

    /// What is sent, and how it is refused.
    private static let refused: [(what: String, path: String, droplet: SampleDroplet, status: Int, code: Int64)] = [
        ("another checksum", "app/" + String(repeating: "0", count: 64), SampleDroplet("a"), 400, 290003),
        ("another SHA-1", "app/" + String(repeating: "0", count: 40), SampleDroplet("a"), 400, 290003),
        ("no checksum", "app/latest", SampleDroplet("a"), 400, 290008),
        ("no guid", "A%20b/" + SampleDroplet("a").sha256, SampleDroplet("a"), 400, 290008),
        ("no stack", "app/" + SampleDroplet("a").sha256 + "?stack=..", SampleDroplet("a"), 400, 290008),
        ("no architecture", "app/" + SampleDroplet("a").sha256 + "?arch=vax", SampleDroplet("a"), 400, 290008),
        ("no name of an org", "app/" + SampleDroplet("a").sha256 + "?org=a%0Ab", SampleDroplet("a"), 400, 290008),
        ("an empty space", "app/" + SampleDroplet("a").sha256 + "?space=", SampleDroplet("a"), 400, 290008),
        (
            "a long space", "app/" + SampleDroplet("a").sha256 + "?space=" + String(repeating: "a", count: 256),
            SampleDroplet("a"), 400, 290008
        ),
        (
            "a device", "app/" + SampleDroplet("", name: "./app/null", kind: .characterDevice).sha256,
            SampleDroplet("", name: "./app/null", kind: .characterDevice), 422, 290008
        ),
        (
            "a way out", "app/" + SampleDroplet("a", name: "../../etc/passwd").sha256,
            SampleDroplet("a", name: "../../etc/passwd"), 422, 290008
        ),
        (
            "too much", "app/" + SampleDroplet(String(repeating: "a", count: 200_000)).sha256,
            SampleDroplet(String(repeating: "a", count: 200_000)), 413, 290003
        ),
    ]

    @Test("What is refused says why with the controller's code, and leaves no droplet", arguments: refused.indices)
    func refusals(_ row: Int) async throws {
        let (what, path, droplet, status, code) = Self.refused[row]
        let world = try BitsWorld()
        let answer = try await world.send(.put, "/droplets/\(path)", body: droplet.bytes)
        #expect(answer.status == status && answer.code == code, "\(what): \(answer.status) \(answer.json)")
        #expect(answer.json["description"]?.string?.isEmpty == false, "\(what)")
        #expect(try await world.send(.get, "/droplets/app/\(droplet.sha256)").status == 404, "\(what)")
    }

    @Test(
        "A store that is full or can't be written refuses droplets and goes on with what it has",
        arguments: [true, false])
    func store(isFull: Bool) async throws {
        let isBroken = Switch()
        let world = try BitsWorld { (operation, _) throws(ObjectStoreError) in
            guard isBroken.isOn, [.put, .writer, .write, .finish].contains(operation) else { return }
            throw isFull ? .full : .permission("read-only")
        }
        let (stored, refused) = (SampleDroplet("stored"), SampleDroplet("refused"))
        Self.expectTaken(try await world.send(.put, "/droplets/app/\(stored.sha256)", body: stored.bytes), stored)
        isBroken.isOn = true
        let answer = try await world.send(.put, "/droplets/app/\(refused.sha256)", body: refused.bytes)
        #expect(answer.status == (isFull ? 507 : 503) && answer.code == 500000, "\(answer.json)")
        #expect(try await world.send(.get, "/droplets/app/\(stored.sha256)").body == stored.bytes)
        isBroken.isOn = false
        Self.expectTaken(try await world.send(.put, "/droplets/app/\(refused.sha256)", body: refused.bytes), refused)
    }
}
