import Blobs
import JSON
import OCI
import ObjectStore
import Testing

@testable import Registry

@Suite("Verification")
struct VerifierTests {
    private func verify(_ world: CollectionWorld, repair: Bool = false) async throws -> VerificationReport {
        try await Verifier(
            registry: world.registry, blobs: world.blobs, reading: world.store,
            users: { $0.map { ($0, "somebody") } }
        ).verify(rate: 1 << 40, repair: repair)
    }

    /// Overwrites the bytes of the only blob that has as many.
    private func damage(_ world: CollectionWorld, size: Int64, with bytes: [UInt8]) async throws {
        let objects = try await world.store.list(prefix: "data/", startAfter: nil, limit: 1000)
        let key = try #require(objects.first { $0.size == size }?.key)
        try await world.store.put(key, bytes, if: .always)
    }

    @Test("what is whole is found whole")
    func whole() async throws {
        let world = try CollectionWorld()
        let config = try await world.push("{}")
        _ = try await world.put(world.manifest(config: config, layers: []), "v1")
        let report = try await verify(world)
        #expect(report.blobs == 2 && report.damagedCount == 0 && report.repositories == 1)
        #expect(report.dangling + report.unlinked + report.unlisted + report.orphans == 0)
    }

    @Test(
        "a damaged blob is named with what refers to it, is not served, and is whole when it is pushed again",
        arguments: [Array("other".utf8), Array("layers".utf8), []])
    func damaged(bytes: [UInt8]) async throws {
        let world = try CollectionWorld()
        let (config, layer) = (try await world.push("{}"), try await world.push("layer"))
        let manifest = try await world.put(world.manifest(config: config, layers: [layer]), "v1")
        try await damage(world, size: 5, with: bytes)
        let report = try await verify(world)
        #expect(report.damages.map(\.digest) == [layer])
        #expect(report.damages.first?.users == ["somebody", "a/b@\(manifest)"])
        await #expect(throws: RegistryError.self) { try await world.registry.openBlob(world.name, layer) }
        #expect(try await verify(world).damages.first?.reason == "quarantined before")
        _ = try await world.push("layer")
        #expect(try await verify(world).damagedCount == 0)
        #expect(try await world.blobs.read(layer, maximum: 10) == Array("layer".utf8))
    }

    @Test("bytes that nothing names are deleted when that is asked for, and not while they may be an upload's")
    func orphans() async throws {
        let world = try CollectionWorld()
        let blob = try await world.push("kept")
        try await world.store.put(try ObjectKey("data/0123456789abcdef0123456789abcdef"), [1, 2, 3], if: .absent)
        #expect(try await verify(world, repair: true).orphans == 0, "they are young")
        world.pass(3601)
        let report = try await verify(world)
        #expect(report.orphans == 1 && report.orphanBytes == 3)
        #expect(try await world.data() == 2)
        _ = try await verify(world, repair: true)
        #expect(try await world.data() == 1)
        #expect(try await world.blobs.read(blob, maximum: 10) == Array("kept".utf8))
    }

    @Test("a missing link, a dangling tag and an unlisted repository are found, and repaired when that is asked for")
    func records() async throws {
        let world = try CollectionWorld()
        let config = try await world.push("{}")
        let subject = Descriptor(mediaType: .ociManifest, digest: Digest.of(Array("s".utf8)), size: 1)
        let referrer = try await world.put(
            Manifest(
                mediaType: .ociManifest, config: Descriptor(mediaType: .ociConfig, digest: config, size: 2), layers: [],
                subject: subject), nil)
        let keys = RepositoryKeys(name: world.name)
        try await world.store.delete(try keys.referrer(subject.digest, referrer), ifVersion: nil)
        try await world.store.delete(try keys.marker(), ifVersion: nil)
        try await world.store.put(
            try keys.tag(try Tag(parsing: "gone")), TagRecord(digest: config, generation: "1").json.canonicalBytes,
            if: .always)
        let report = try await verify(world, repair: true)
        #expect(report.unlinked == 1 && report.unlisted == 1 && report.dangling == 1)
        let again = try await verify(world)
        #expect(again.unlinked + again.unlisted + again.dangling == 0)
        let listed = try await world.registry.referrers(world.name, of: subject.digest, artifactType: nil, after: nil)
        #expect(listed.elements.map(\.digest) == [referrer])
        #expect(try await world.registry.catalog(after: nil, limit: 10).elements == [world.name])
    }
}
