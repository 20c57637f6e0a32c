import Archive
import Bits
import Foundation
import HTTPTypes
import Identity
import JSON
import OCI
import ObjectStore
import TestSupport
import Testing

@testable import HTTPServer

@Suite("Resource matching")
struct StashRouteTests {
    private static let form: HTTPFields = [.contentType: "multipart/form-data; boundary=x"]

    private static func form(_ fields: [(name: String, bytes: [UInt8])]) -> [UInt8] {
        fields.flatMap { name, bytes in
            Array("--x\r\nContent-Disposition: form-data; name=\"\(name)\"\r\n\r\n".utf8) + bytes + Array("\r\n".utf8)
        } + Array("--x--\r\n".utf8)
    }

    private static func sha1(_ text: String) -> String {
        var hasher = SHA1Hasher()
        Array(text.utf8).withUnsafeBytes { hasher.update($0) }
        return hasher.finish()
    }

    private static func list(_ files: [(text: String, name: String)]) -> JSONValue {
        .array(
            files.map { text, name in
                [
                    "sha1": .string(sha1(text)), "size": .integer(text.utf8.count), "fn": .string(name),
                    "mode": "755",
                ]
            })
    }

    /// Names, modes and contents of a zip's files.
    private static func contents(_ bytes: [UInt8]) throws -> [String: String] {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/z.zip"
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        var zip = try ZipReader(path: path)
        var found: [String: String] = [:]
        while let entry = try zip.next() {
            var content: [UInt8] = []
            while try zip.withContent({ content += Array($0) }) != nil {}
            found[String(decoding: entry.name, as: UTF8.self)] =
                String(entry.mode, radix: 8) + " " + String(decoding: content, as: UTF8.self)
        }
        return found
    }

    @Test("What was sent once need not be sent again: it matches, and is merged into packages by name and mode")
    func merged() async throws {
        let world = try BitsWorld()
        let (small, large) = (String(repeating: "s", count: 10), String(repeating: "l", count: 5000))
        let tiny = "t"
        let asked = Self.list([(small, ""), (large, ""), (tiny, ""), ("never seen", "")])
        #expect(try await world.send(.post, "/app_stash/matches", body: asked.canonicalBytes).json == [])
        let sent = try TestZip.bytes(["small": small, "dir/large": large, "tiny": tiny])
        let entries = try await world.send(
            .post, "/app_stash/entries", Self.form, body: Self.form([("application", sent)]))
        #expect(entries.status == 201)
        let answered = Set((entries.json.array ?? []).compactMap { $0["fn"]?.string })
        #expect(answered == ["small", "dir/large", "tiny"])
        #expect(
            entries.json.array?.first { $0["fn"] == "small" }
                == ["sha1": .string(Self.sha1(small)), "fn": "small", "mode": "644", "size": 10])
        let matches = try await world.send(.post, "/app_stash/matches", body: asked.canonicalBytes)
        #expect(matches.status == 200 && matches.json == Self.list([(small, ""), (large, "")]))

        let resources = Self.list([(small, "a/small"), (large, "large")]).canonicalBytes
        let package = try TestZip.bytes(["new": "brand new file"])
        let expected = ["a/small": "755 " + small, "large": "755 " + large, "new": "644 brand new file"]
        for fields in [
            [("resources", resources), ("package", package)], [("package", package), ("resources", resources)],
        ] {
            let put = try await world.send(.put, "/packages/app", Self.form, body: Self.form(fields))
            #expect(put.status == 201, "\(put.json)")
            let merged = try await world.send(.get, "/packages/app").body
            #expect(put.json["sha256"] == .string(Digest.of(merged).hex))
            #expect(try Self.contents(merged) == expected)
        }
        // Nothing was left to send, and what a package brought is known from now on.
        let rest = Self.list([("brand new file", "again")]).canonicalBytes
        let alone = try await world.send(.put, "/packages/other", Self.form, body: Self.form([("resources", rest)]))
        #expect(alone.status == 201)
        #expect(
            try Self.contents(try await world.send(.get, "/packages/other").body) == ["again": "755 brand new file"])

        let bundle = try await world.send(
            .post, "/app_stash/bundles",
            // The controller sends no sizes here.
            body: Array(String(decoding: resources, as: UTF8.self).replacing(/,?"size":[0-9]+/, with: "").utf8))
        #expect(bundle.status == 200)
        #expect(try Self.contents(bundle.body) == ["a/small": "755 " + small, "large": "755 " + large])
        let both = try await world.send(
            .post, "/app_stash/bundles", Self.form,
            body: Self.form([("resources", resources), ("application", package)]))
        #expect(try Self.contents(both.body) == expected)
    }

    @Test("Lists that can't be used, unknown files and hostile names are refused, and nothing is left")
    func refused() async throws {
        let world = try BitsWorld()
        let known = "a known file"
        _ = try await world.send(
            .post, "/app_stash/entries", Self.form,
            body: Self.form([("application", try TestZip.bytes(["known": known]))]))
        let matches: [(body: String, status: Int)] = [
            ("[]", 422), ("{}", 422), ("[1]", 422), (#"[{"sha1":"x","size":1}]"#, 422), ("[", 400), ("", 400),
            (#"[{"sha1":"\#(Self.sha1(known))","size":-1}]"#, 422), (#"[{"sha1":"\#(Self.sha1(known))"}]"#, 422),
            (#"[{"sha1":"\#(Self.sha1(known))","size":13}]"#, 200),
        ]
        for row in matches {
            let answer = try await world.send(.post, "/app_stash/matches", body: Array(row.body.utf8))
            #expect(answer.status == row.status, "\(row)")
            if row.status == 200 { #expect(answer.json == [], "another size") }
        }
        let package = try TestZip.bytes(["new": "x"])
        let names: [(name: String, status: Int)] = [
            ("../up", 422), ("/absolute", 422), ("", 422), ("new", 422),
            (String(repeating: "a/", count: 2048), 422), (String(repeating: "a/", count: 2048) + "x", 413),
            ("fine", 201),
        ]
        for row in names {
            let body = Self.form([
                ("resources", Self.list([(known, row.name)]).canonicalBytes), ("package", package),
            ])
            let answer = try await world.send(.put, "/packages/app", Self.form, body: body)
            #expect(answer.status == row.status, "\(row) \(answer.json)")
        }
        let unknown = Self.form([
            ("resources", Self.list([("unknown file", "a")]).canonicalBytes), ("package", package),
        ])
        #expect(try await world.send(.put, "/packages/none", Self.form, body: unknown).status == 404)
        #expect(try await world.send(.get, "/packages/none").status == 404)
        let bad = try await world.send(.post, "/app_stash/entries", Self.form, body: Self.form([("application", [1])]))
        #expect(bad.status == 422)
    }
}
