import Archive
import HTTPTypes
import Identity
import JSON
import OCI
import ObjectStore
import TestSupport
import Testing

@testable import HTTPServer

@Suite("Packages, buildpacks and build caches, as the cloud controller's client sends and fetches them")
struct BitsRouteTests {
    fileprivate struct Kind: Sendable, CustomTestStringConvertible {
        let path: String
        let field: String
        let type: String
        var testDescription: String { path }

        static let all = [
            Kind(path: "/packages/app", field: "package", type: "application/zip"),
            Kind(path: "/buildpacks/ruby", field: "buildpack", type: "application/zip"),
            Kind(
                path: "/buildpack_cache/entries/app/tiny", field: "buildpack_cache",
                type: "application/octet-stream"),
        ]

        var other: String { path.hasPrefix("/buildpack_cache") ? path + "2" : path + "-2" }
        /// The name that a copy request has.
        var guid: String { path.hasPrefix("/buildpacks") ? "ruby" : "app" }
    }

    private static let zip = try? TestZip.bytes([
        "manifest.yml": "---\nlanguage: x\nstack: 'tiny' # comment\n", "bin/x": "x",
    ])

    private static func form(_ field: String, _ bytes: [UInt8]) -> (headers: HTTPFields, body: [UInt8]) {
        let head = "--x\r\nContent-Disposition: form-data; name=\"\(field)\"; filename=\"f\"\r\n\r\n"
        return (
            [.contentType: "multipart/form-data; boundary=x"],
            Array(head.utf8) + bytes + Array("\r\n--x--\r\n".utf8)
        )
    }

    private static func sha1(_ bytes: [UInt8]) -> String {
        var hasher = SHA1Hasher()
        bytes.withUnsafeBytes { hasher.update($0) }
        return hasher.finish()
    }

    private static func expectTaken(_ answer: BitsWorld.Answer, _ bytes: [UInt8], _ guid: String) {
        #expect(answer.status == 201, "\(answer.json)")
        #expect(answer.json["guid"] == .string(guid))
        #expect(answer.json["state"] == "READY" && answer.json["type"] == "bits")
        #expect(answer.json["created_at"] == "2027-01-15T08:00:00Z")
        #expect(answer.json["sha1"] == .string(sha1(bytes)))
        #expect(answer.json["sha256"] == .string(Digest.of(bytes).hex))
    }

    @Test("Bits come back byte by byte, may be replaced, and are gone when they were deleted", arguments: Kind.all)
    fileprivate func lifecycle(kind: Kind) async throws {
        let world = try BitsWorld()
        let zip = try #require(Self.zip)
        for field in [kind.field, "bits"] {
            let (headers, body) = Self.form(field, zip)
            Self.expectTaken(
                try await world.send(.put, kind.path, headers, body: body, as: .operator), zip, kind.guid)
        }
        let got = try await world.send(.get, kind.path)
        #expect(got.status == 200 && got.body == zip && got.headers[.contentType] == kind.type)
        #expect(try await world.send(.get, kind.path, [.range: "bytes=1-2"]).status == 206)
        // Raw bytes replace them.
        let new = try TestZip.bytes(["a": "b"])
        Self.expectTaken(try await world.send(.put, kind.path, body: new, as: .operator), new, kind.guid)
        #expect(try await world.send(.get, kind.path).body == new)
        #expect(try await world.send(.delete, kind.path, as: .operator).status == 204)
        for method in [HTTPRequest.Method.get, .delete] {
            let answer = try await world.send(method, kind.path, as: .operator)
            #expect(answer.status == 404 && answer.code == 10010)
        }
    }

    @Test("A JSON body copies other bits, whatever type its client gives it", arguments: Kind.all)
    fileprivate func copy(kind: Kind) async throws {
        let world = try BitsWorld()
        let zip = try #require(Self.zip)
        _ = try await world.send(.put, kind.path, body: zip, as: .operator)
        for type in ["application/json", "application/x-www-form-urlencoded"] {
            let source = kind.path.hasPrefix("/buildpack_cache") ? "app/tiny" : kind.guid
            let body = Array(#"{"source_guid": "\#(source)"}"#.utf8)
            let answer = try await world.send(.put, kind.other, [.contentType: type], body: body, as: .operator)
            #expect(answer.status == 201 && answer.json["sha256"] == .string(Digest.of(zip).hex), "\(answer.json)")
            #expect(try await world.send(.get, kind.other).body == zip)
        }
        _ = try await world.send(.delete, kind.path, as: .operator)
        #expect(try await world.send(.get, kind.other).body == zip, "a copy is its own")
        let missing = try await world.send(
            .put, kind.other, [.contentType: "application/json"], body: Array(#"{"source_guid":"none"}"#.utf8),
            as: .operator)
        #expect(missing.status == 404 && missing.code == 10010)
        let empty = try await world.send(
            .put, kind.other, [.contentType: "application/json"], body: Array("{}".utf8), as: .operator)
        #expect(empty.status == 400)
    }

    @Test("A droplet is copied to another app, and stays what it is")
    func dropletCopy() async throws {
        let world = try BitsWorld()
        let droplet = SampleDroplet("copied")
        _ = try await world.send(.put, "/droplets/app/\(droplet.sha256)?stack=own", body: droplet.bytes)
        for (source, status) in [
            ("app", 201), ("app/\(droplet.sha256)", 201), ("app/\(droplet.sha1)", 201), ("none", 404), ("app/x", 404),
        ] {
            let answer = try await world.send(
                .put, "/droplets/other/\(droplet.sha256)", [.contentType: "application/json"],
                body: Array(#"{"source_guid":"\#(source)"}"#.utf8))
            #expect(answer.status == status, "\(source) \(answer.json)")
        }
        #expect(try await world.send(.get, "/droplets/other/\(droplet.sha1)").body == droplet.bytes)
        let wrong = try await world.send(
            .put, "/droplets/other/\(String(repeating: "0", count: 64))", [.contentType: "application/json"],
            body: Array(#"{"source_guid":"app/\#(droplet.sha256)"}"#.utf8))
        #expect(wrong.status == 400 && wrong.code == 290003)
    }

    @Test("A buildpack's stack is that of its manifest.yml; the query may say its name, place and state")
    func buildpacks() async throws {
        let world = try BitsWorld()
        let zip = try #require(Self.zip)
        let rows: [(manifest: String?, stack: JSONValue?)] = [
            ("stack: tiny\n", "tiny"), ("# c\r\nstack: \"tiny.2\"\r\n", "tiny.2"), ("  stack: inner\n", nil),
            ("\u{feff}stack: marked\n", "marked"), ("stacks: x\n", nil), ("stack: [a, b]\n", nil), ("", nil),
            (nil, nil),
        ]
        for (index, row) in rows.enumerated() {
            let zip = try TestZip.bytes(row.manifest.map { ["manifest.yml": $0] } ?? ["a/manifest.yml": "stack: deep"])
            _ = try await world.send(.put, "/buildpacks/b\(index)", body: zip, as: .operator)
            let metadata = try await world.send(.get, "/buildpacks/b\(index)/metadata")
            #expect(metadata.status == 200 && metadata.json["stack"] == row.stack, "\(row)")
        }
        let posted = try await world.send(
            .post, "/buildpacks?name=ruby&position=1&enabled=false", body: zip, as: .operator)
        let guid = try #require(posted.json["guid"]?.string)
        #expect(posted.status == 201 && posted.json["stack"] == "tiny" && guid.utf8.count == 36)
        #expect(try await world.send(.get, "/buildpacks/\(guid)").body == zip)
        let list = try await world.send(.get, "/buildpacks").json["buildpacks"]?.array ?? []
        #expect(list.count == rows.count + 1 && list.first?["guid"] == .string(guid))
        #expect(list.first?["name"] == "ruby" && list.first?["position"] == 1 && list.first?["enabled"] == false)
        for query in ["position=0", "position=x", "enabled=1", "name="] {
            #expect(try await world.send(.post, "/buildpacks?\(query)", body: zip, as: .operator).status == 400)
        }
    }

    @Test(
        "Build caches are deleted by app, and all at once",
        arguments: ["/buildpack_cache/entries", "/buildpack_cache/entries/"])
    func caches(all: String) async throws {
        let world = try BitsWorld()
        let paths = ["a/tiny", "a/other", "a-b/tiny", "b/tiny"].map { "/buildpack_cache/entries/\($0)" }
        func there() async throws -> [Bool] {
            var found: [Bool] = []
            for path in paths { found.append(try await world.send(.get, path).status == 200) }
            return found
        }
        for path in paths { _ = try await world.send(.put, path, body: Array("cache".utf8)) }
        #expect(try await there() == [true, true, true, true])
        #expect(try await world.send(.delete, "/buildpack_cache/entries/a", as: .operator).status == 204)
        #expect(try await there() == [false, false, true, true])
        #expect(try await world.send(.delete, all, as: .operator).status == 204)
        #expect(try await there() == [false, false, false, false])
        #expect(try await world.send(.delete, "/buildpack_cache/entries/a", as: .operator).status == 204)
    }

    /// A zip with one entry.
    private static func zip(_ name: String, _ kind: ZipEntry.Kind = .file, link: String = "") throws -> [UInt8] {
        try TestZip.bytes([
            (
                ZipEntry(
                    kind: kind, name: Array(name.utf8), linkName: Array(link.utf8), mode: 0o644,
                    modified: .init(seconds: 1)), []
            )
        ])
    }

    @Test("Zips that could not be unpacked anywhere are refused by name of the entry, and what was there stays")
    func hostile() async throws {
        let world = try BitsWorld()
        let good = try #require(Self.zip)
        let twice = ZipEntry(kind: .file, name: Array("a".utf8), mode: 0o644, modified: .init(seconds: 1))
        let rows: [(what: String, bytes: [UInt8], status: Int)] = [
            ("up", try Self.zip("a/../../b"), 422), ("absolute", try Self.zip("/etc/passwd"), 422),
            ("link out", try Self.zip("a", .symbolicLink, link: "../b"), 422),
            ("link to an absolute path", try Self.zip("a", .symbolicLink, link: "/b"), 422),
            ("twice", try TestZip.bytes([(twice, []), (twice, [1])]), 422),
            ("no zip", Array("hello".utf8), 422), ("cut", Array(good.dropLast(30)), 422), ("nothing", [], 422),
            ("too large", [UInt8](repeating: 0, count: Int(BitsWorld.maximumDroplet) + 1), 413),
            ("link inside", try Self.zip("a/b", .symbolicLink, link: "../c"), 201),
        ]
        for path in ["/packages/app", "/buildpacks/app"] {
            for row in rows {
                _ = try await world.send(.put, path, body: good, as: .operator)
                let answer = try await world.send(.put, path, body: row.bytes, as: .operator)
                #expect(answer.status == row.status, "\(row.what): \(answer.json)")
                let there = try await world.send(.get, path).body
                #expect(there == (row.status == 201 ? row.bytes : good), "\(row.what)")
                if row.status == 413 { #expect(answer.body.isEmpty) }
            }
        }
    }

    @Test("A stated digest must be right, names must be names")
    func refusals() async throws {
        let world = try BitsWorld()
        let zip = try #require(Self.zip)
        let digest = try #require(HTTPField.Name("Digest"))
        let wrong = try await world.send(
            .put, "/packages/app", [digest: "sha256=" + String(repeating: "0", count: 64)], body: zip)
        #expect(wrong.status == 400 && wrong.code == 290003)
        let right = try await world.send(.put, "/packages/app", [digest: "sha256=\(Digest.of(zip).hex)"], body: zip)
        #expect(right.status == 201)
        for path in ["/packages/A", "/packages/a%2Fb", "/packages/..", "/buildpack_cache/entries/a/..%2Fb"] {
            #expect(try await world.send(.put, path, body: zip).status == 400, "\(path)")
        }
        let (headers, body) = Self.form("other", zip)
        #expect(try await world.send(.put, "/packages/app", headers, body: body).status == 400)
    }

    @Test("A store that is full refuses bits and goes on with what it has")
    func full() async throws {
        let isFull = Switch()
        let world = try BitsWorld { (operation, _) throws(ObjectStoreError) in
            guard isFull.isOn, [.put, .writer, .write, .finish].contains(operation) else { return }
            throw .full
        }
        let zip = try #require(Self.zip)
        _ = try await world.send(.put, "/packages/app", body: zip)
        isFull.isOn = true
        let answer = try await world.send(.put, "/packages/other", body: zip)
        #expect(answer.status == 507 && answer.code == 500000)
        #expect(try await world.send(.get, "/packages/app").body == zip)
        #expect(try await world.send(.get, "/packages/other").status == 404)
    }
}
