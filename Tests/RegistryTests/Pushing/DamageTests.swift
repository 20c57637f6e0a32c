import Blobs
import Maintenance
import OCI
import ObjectStore
import RegistryTesting
import Testing

@testable import Registry

@Suite("Records that can't be read")
struct DamageTests {
    private static let garbage = Array("{\"data\":".utf8)

    private static func record(_ digest: Digest) throws -> ObjectKey {
        try ObjectKey("blobs/sha256/\(digest.hex.prefix(2))/\(digest.hex)")
    }

    @Test("a blob whose record is damaged is whole again when it is pushed again", arguments: Content.allCases)
    func blobPushedAgain(content: Content) async throws {
        let world = try PushWorld()
        let digest = try await world.push(content.text("content"))
        let record = try await world.memory.get(Self.record(digest)).bytes
        for damaged in [Self.garbage, Array(record.dropLast()), []] {
            try await world.memory.put(Self.record(digest), damaged, if: .always)
            await #expect(throws: RegistryError.self) { try await world.blob(digest) }
            try await world.push(content.text("content"))
            #expect(try await world.blob(digest) == content.bytes("content"))
        }
    }

    @Test("a blob whose bytes are lost or short is whole again when it is pushed again", arguments: [true, false])
    func bytesPushedAgain(areLost: Bool) async throws {
        let world = try PushWorld()
        let content = Content.inObject.text("content")
        let digest = try await world.push(content)
        let data = try #require(try await world.memory.list(prefix: "data/", startAfter: nil, limit: 1).first?.key)
        if areLost {
            try await world.memory.delete(data, ifVersion: nil)
        } else {
            try await world.memory.put(data, [1], if: .always)
        }
        try await world.push(content)
        #expect(try await world.blob(digest) == Array(content.utf8))
    }

    @Test("a manifest whose record is damaged can be pushed again, and deleted")
    func manifestPushedAgain() async throws {
        let world = try PushWorld()
        let manifest = world.manifest([])
        let key = try ObjectKey("repositories/a/b/_manifests/sha256/\(Digest.of(manifest).hex)")
        for isDeleted in [false, true] {
            let digest = try await world.put(manifest, "tag")
            try await world.memory.put(key, Self.garbage, if: .always)
            if isDeleted {
                try await world.registry.deleteManifest(world.name, digest)
                #expect(try await world.manifest(digest.description) == nil)
            } else {
                try await world.put(manifest, "tag")
                #expect(try await world.manifest("tag") == manifest)
            }
        }
    }

    @Test("one damaged tag does not keep a repository's other tags from being listed")
    func tagList() async throws {
        let world = try PushWorld()
        try await world.put(world.manifest([]), "a", tags: ["b", "c"])
        try await world.memory.put(try ObjectKey("repositories/a/b/_tags/b"), Self.garbage, if: .always)
        #expect(try await world.tags() == ["a", "c"])
        try await world.put(world.manifest([]), "b")
        #expect(try await world.tags() == ["a", "b", "c"])
    }

    @Test("a repair deletes no bytes while a record that may name them can't be read")
    func repair() async throws {
        let world = try PushWorld()
        let digest = try await world.push(Content.inObject.text("content"))
        try await world.memory.put(Self.record(digest), Self.garbage, if: .always)
        let verifier = Verifier(owners: world.owners, blobs: world.blobs, reading: world.memory)
        // Older than any grace period, by the store's clock.
        world.pass(5_000_000_000)
        let report = try await verifier.verify(rate: 1 << 30, repair: true)
        #expect(report.damagedCount == 1)
        #expect(try await world.contents() == 1, "somebody may yet read the record's digest and these bytes together")
    }
}
