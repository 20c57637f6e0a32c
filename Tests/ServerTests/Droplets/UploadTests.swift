import Foundation
import JSON
import OCI
import TestSupport
import Testing

extension ServerTests {
    @Suite("Droplets come in", .serialized, .sharedServer)
    struct UploadTests {
        /// What the cloud controller's client wants: exactly 201, both checksums, a state; and what the droplet was taken
        /// for.
        private static func expectTaken(_ answer: Answer, _ droplet: Droplet, guid: String) throws {
            #expect(answer.status == 201, "\(answer.text)")
            #expect(answer["Content-Type"] == "application/json")
            let members = try #require(answer.json.object)
            let names: Set = [
                "guid", "state", "type", "created_at", "sha1", "sha256", "stack", "architecture", "image",
            ]
            #expect(Set(members.keys) == names)
            #expect(members["guid"]?.string == guid)
            #expect(members["state"] == "READY" && members["type"] == "bits")
            #expect(members["sha1"]?.string == droplet.sha1 && members["sha256"]?.string == droplet.sha256)
            let created = try #require(members["created_at"]?.string)
            #expect(ISO8601DateFormatter().date(from: created) != nil, "\(created)")
        }

        private static func expectStored(_ droplet: Droplet, guid: String) async throws {
            let client = try SharedServer.world().client
            for hash in [droplet.sha256, droplet.sha1] {
                let answer = try await client.get("/droplets/\(guid)/\(hash)", as: "operator")
                #expect(answer.status == 200 && answer.body == droplet.bytes)
            }
            try await Image(droplet.sha256, of: "cloudfoundry/\(guid)", from: client).verifyLayers(from: client)
        }

        @Test("as a raw body, named by SHA-256 or SHA-1", arguments: [true, false])
        func raw(isSHA256: Bool) async throws {
            let droplet = Droplet("raw \(isSHA256)", noise: 100_000)
            let path = "/droplets/raw-\(isSHA256)/\(isSHA256 ? droplet.sha256 : droplet.sha1)"
            let answer = try await SharedServer.world().client.send("PUT", path, as: "operator", body: droplet.bytes)
            try Self.expectTaken(answer, droplet, guid: "raw-\(isSHA256)")
            try await Self.expectStored(droplet, guid: "raw-\(isSHA256)")
        }

        @Test("chunked, in pieces of any size", arguments: [1, 7, 511, 513, 4096])
        func chunked(size: Int) async throws {
            let droplet = Droplet("chunked \(size)")
            let client = try SharedServer.world().client
            let connection = try await RawConnection(port: client.port)
            defer { connection.close() }
            let path = "/droplets/chunked-\(size)/\(droplet.sha256)"
            try await connection.send(client.head("PUT", path, as: "operator", ["Transfer-Encoding": "chunked"]))
            var body: [UInt8] = []
            for start in stride(from: 0, to: droplet.bytes.count, by: size) {
                let piece = droplet.bytes[start..<min(start + size, droplet.bytes.count)]
                body += Array("\(String(piece.count, radix: 16))\r\n".utf8) + piece + Array("\r\n".utf8)
            }
            try await connection.send(body + Array("0\r\n\r\n".utf8))
            try Self.expectTaken(try await Answer(from: connection), droplet, guid: "chunked-\(size)")
        }

        @Test("as a form's field", arguments: ["droplet", "bits"])
        func form(field: String) async throws {
            let droplet = Droplet("form \(field)", noise: 100_000)
            let form = Multipart([("resources", Array("[]".utf8)), (field, droplet.bytes)])
            let answer = try await SharedServer.world().client.send(
                "PUT", "/droplets/form-\(field)/\(droplet.sha1)", as: "operator", Multipart.contentType, body: form.body
            )
            try Self.expectTaken(answer, droplet, guid: "form-\(field)")
            try await Self.expectStored(droplet, guid: "form-\(field)")
        }

        @Test("as a form that curl makes, over TLS")
        func curl() async throws {
            let world = try SharedServer.world()
            let droplet = Droplet("curl", noise: 100_000)
            try await withTemporaryDirectory { directory in
                try Data(droplet.bytes).write(to: URL(fileURLWithPath: directory + "/droplet.tgz"))
                let answer = try await world.server.request(
                    "PUT", "/droplets/curl/\(droplet.sha256)", as: .operator,
                    body: .form(field: "droplet", file: directory + "/droplet.tgz"))
                #expect(answer.status == 201, "\(answer.text)")
            }
            try await Self.expectStored(droplet, guid: "curl")
        }

        @Test("with the checksum in a Digest header, in hexadecimal or base64")
        func digestHeader() async throws {
            let client = try SharedServer.world().client
            let droplet = Droplet("digest header")
            let base64 = Data(Self.bytes(hex: droplet.sha256)).base64EncodedString()
            for digest in [
                "sha256=\(droplet.sha256)", "SHA-256=\(base64)", "sha-256=\(base64)",
                "md5=xyz, sha256=\(droplet.sha256)",
                "sha256=\(droplet.sha256.uppercased())",
            ] {
                let answer = try await client.send(
                    "PUT", "/droplets/digest", as: "operator", ["Digest": digest], body: droplet.bytes)
                try Self.expectTaken(answer, droplet, guid: "digest")
            }
            try await Self.expectStored(droplet, guid: "digest")
        }

        @Test("again without changing anything, and for another app too")
        func again() async throws {
            let world = try SharedServer.world()
            let droplet = Droplet("again")
            let first = try await world.upload(droplet, guid: "again")
            let image = try await Image(droplet.sha256, of: "cloudfoundry/again", from: world.client)
            let second = try await world.upload(droplet, guid: "again")
            #expect(second.json == first.json, "created_at is the first one's")
            #expect(
                try await Image(droplet.sha256, of: "cloudfoundry/again", from: world.client).digest == image.digest)
            try await world.upload(droplet, guid: "again-elsewhere")
            let other = try await Image(droplet.sha256, of: "cloudfoundry/again-elsewhere", from: world.client)
            #expect(other.digest == image.digest, "the same droplet is the same image")
            #expect(
                try await world.client.send("DELETE", "/droplets/again/\(droplet.sha256)", as: "operator").status == 204
            )
            try await Self.expectStored(droplet, guid: "again-elsewhere")
            try await world.upload(droplet, guid: "again")
            try await Self.expectStored(droplet, guid: "again")
        }

        @Test("many at once, the same one too")
        func together() async throws {
            let world = try SharedServer.world()
            let droplets = (0..<6).map { Droplet("together \($0)", noise: 20_000) }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for droplet in droplets + droplets {
                    group.addTask { try await world.upload(droplet, guid: "together") }
                }
                try await group.waitForAll()
            }
            for droplet in droplets { try await Self.expectStored(droplet, guid: "together") }
        }

        private static func bytes(hex: String) -> [UInt8] {
            var bytes: [UInt8] = []
            var rest = Substring(hex)
            while let byte = UInt8(rest.prefix(2), radix: 16) {
                bytes.append(byte)
                rest = rest.dropFirst(2)
            }
            return bytes
        }
    }
}
