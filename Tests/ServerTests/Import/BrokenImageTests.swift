import Foundation
import JSON
import TestSupport
import Testing

extension ServerTests {
    @Suite("An import of an image that breaks", .serialized, .sideBySide)
    struct BrokenImageTests {
        private static func path(_ version: String) -> String { "/api/v1/rootfs/s/\(version)?shell=/bin/sh" }
        private static let type = ["Content-Type": "application/vnd.oci.image.layout.v1+tar"]

        @Test("Whatever is wrong with what it holds, it is refused and nothing stays; then the good one is taken")
        func broken() async throws {
            try await RootfsLayout.with { image, world in
                let archive = Array(try Data(contentsOf: URL(fileURLWithPath: image.directory + "/oci.tar")))
                let blobs = TarContents(of: archive).files.filter { $0.name.hasPrefix("blobs/sha256/") }.map(\.range)
                try #require(blobs.count == 4, "a manifest, a config and two layers")
                let end = try #require(blobs.map(\.upperBound).max())
                let objects = try await world.objectsAtRest()
                var random = SeededRandom(seed: 11)
                for round in 0..<40 {
                    var bytes = archive
                    let what: String
                    if round.isMultiple(of: 2) {
                        let length = Int.random(in: 0..<end, using: &random)
                        bytes = Array(bytes.prefix(length))
                        what = "only \(length) bytes"
                    } else {
                        let place = Int.random(in: blobs[round / 2 % blobs.count], using: &random)
                        bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                        what = "another bit at \(place)"
                    }
                    let answer = try await world.client.send(
                        "PUT", Self.path("1"), as: "operator", Self.type, body: bytes)
                    #expect(answer.status == 422, "\(what): \(answer.text)")
                }
                #expect(world.store.unfinished() == [])
                #expect(try await world.objectsAtRest() == objects)
                let good = try await world.client.send(
                    "PUT", Self.path("1"), as: "operator", Self.type, body: archive)
                #expect(good.status == 201, "\(good.text)")
            }
        }

        @Test("A bit of the archive around its blobs makes it refused, or no difference at all")
        func around() async throws {
            try await RootfsLayout.with { image, world in
                let archive = Array(try Data(contentsOf: URL(fileURLWithPath: image.directory + "/oci.tar")))
                let good = try await world.client.send(
                    "PUT", Self.path("good"), as: "operator", Self.type, body: archive)
                try #require(good.status == 201, "\(good.text)")
                let blobs = TarContents(of: archive).files.filter { $0.name.hasPrefix("blobs/sha256/") }.map(\.range)
                let places = archive.indices.filter { place in !blobs.contains { $0.contains(place) } }
                var random = SeededRandom(seed: 12)
                var refused = 0
                for round in 0..<40 {
                    var bytes = archive
                    let place = try #require(places.randomElement(using: &random))
                    bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                    let answer = try await world.client.send(
                        "PUT", Self.path("\(round)"), as: "operator", Self.type, body: bytes)
                    switch answer.status {
                    case 201: #expect(answer.json["layers"] == good.json["layers"], "a bit at \(place)")
                    case 422: refused += 1
                    default: Issue.record("a bit at \(place): \(answer.status) \(answer.text)")
                    }
                }
                #expect(refused > 0, "some of them matter")
            }
        }

        @Test("A sender that goes away leaves nothing")
        func interrupted() async throws {
            try await RootfsLayout.with { image, world in
                let archive = Array(try Data(contentsOf: URL(fileURLWithPath: image.directory + "/oci.tar")))
                let objects = try await world.objectsAtRest()
                for share in [0.0, 0.2, 0.6, 0.999] {
                    let connection = try await RawConnection(port: world.client.port)
                    let head = world.client.head(
                        "PUT", Self.path("1"), as: "operator",
                        Self.type.merging(["Content-Length": String(archive.count)]) { $1 })
                    try await connection.send(Array(head.utf8) + archive.prefix(Int(Double(archive.count) * share)))
                    connection.reset()
                }
                try await waitUntil("the unfinished files to go") { world.store.unfinished() == [] }
                try await waitUntil("the staged files to go") { try await world.objectsAtRest() == objects }
                #expect(try await world.version("1") == nil)
            }
        }
    }
}
