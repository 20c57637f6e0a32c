import Blobs
import JSON
import OCI
import ObjectStore
import RegistryTesting
import Testing

@testable import Maintenance
@testable import Registry

@Suite("Verification")
struct VerifierTests {
    private func verify(
        _ world: CollectionWorld, needed: [Digest] = [], repair: Bool = false
    ) async throws -> VerificationReport {
        try await Verifier(
            owners: world.owners(FixedRoots(digests: needed)), blobs: world.blobs, reading: world.store
        ).verify(rate: 1 << 40, repair: repair)
    }

    /// Changes the first byte of a blob's content.
    private func damage(_ world: CollectionWorld, _ digest: Digest, _ content: Content) async throws {
        let key =
            switch content {
            case .inRecord: try ObjectKey("blobs/sha256/\(digest.hex.prefix(2))/\(digest.hex)")
            case .inObject: try await dataKey(world)
            }
        var bytes = try await world.store.get(key).bytes
        bytes[content == .inRecord ? 128 : 0] ^= 1
        try await world.store.put(key, bytes, if: .always)
    }

    /// The only object below `data/`.
    private func dataKey(_ world: CollectionWorld) async throws -> ObjectKey {
        try #require(try await world.store.list(prefix: "data/", startAfter: nil, limit: 2).first?.key)
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
        arguments: Content.allCases)
    func damaged(content: Content) async throws {
        let world = try CollectionWorld()
        let (config, layer) = (try await world.push("{}"), try await world.push(content.text("layer")))
        let manifest = try await world.put(world.manifest(config: config, layers: [layer]), "v1")
        try await damage(world, layer, content)
        let report = try await verify(world, needed: [layer])
        #expect(report.damages.map(\.digest) == [layer])
        #expect(report.damages.first?.users == ["somebody", "a/b@\(manifest)"])
        await #expect(throws: RegistryError.self) { try await world.registry.openBlob(world.name, layer) }
        #expect(try await verify(world).damages.first?.reason == "quarantined before")
        _ = try await world.push(content.text("layer"))
        #expect(try await verify(world).damagedCount == 0)
        #expect(try await world.blobs.read(layer, maximum: 10_000) == content.bytes("layer"))
    }

    @Test("a blob whose object has another length is damaged", arguments: [0, 10, 10_000])
    func length(count: Int) async throws {
        let world = try CollectionWorld()
        let layer = try await world.push(Content.inObject.text("layer"))
        try await world.store.put(try await dataKey(world), [UInt8](repeating: 46, count: count), if: .always)
        #expect(try await verify(world).damages.map(\.digest) == [layer])
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
        #expect(try await world.contents() == 2)
        _ = try await verify(world, repair: true)
        #expect(try await world.contents() == 1)
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
        #expect(try await world.registry.catalog(after: nil, limit: 10) == ["a!b"])
    }
}
