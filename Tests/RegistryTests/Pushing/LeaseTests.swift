import Blobs
import OCI
import ObjectStore
import RegistryTesting
import Testing

@testable import Registry

@Suite("Leases of what is pushed")
struct LeaseTests {
    /// More than a quarter of the grace period, after which a lease is renewed by whoever relies on it.
    private static let aWhile: Int64 = 1000

    /// Ways in which a manifest names a blob of its repository.
    enum Naming: CaseIterable {
        case layer, config, foreignLayer, unknownType, indexOfBlobs
    }

    @Test("a manifest's push renews what it names before it is written down", arguments: Naming.allCases)
    func manifest(naming: Naming) async throws {
        let world = try PushWorld()
        let blob = try await world.push(naming == .config ? "{}" : "content")
        let foreign = try MediaType(parsing: "application/vnd.oci.image.layer.nondistributable.v1.tar")
        let descriptor = world.descriptor(blob, try MediaType(parsing: "application/x.y"))
        let (manifest, type) =
            switch naming {
            case .layer: (world.manifest([blob]), MediaType.ociManifest.text)
            case .config: (world.manifest([]), MediaType.ociManifest.text)
            case .foreignLayer: (world.manifest([blob], foreign), MediaType.ociManifest.text)
            case .unknownType: (Array(#"{"blobs":[\#(descriptor)]}"#.utf8), "application/vnd.example+json")
            case .indexOfBlobs:
                (Array(#"{"schemaVersion":2,"manifests":[\#(descriptor)]}"#.utf8), MediaType.ociIndex.text)
            }
        world.pass(Self.aWhile)
        world.calls.start()
        try await world.put(manifest, "a", type: type)
        let renewed = try #require(
            world.calls.index(.put, "blobs/sha256/\(blob.hex.prefix(2))/\(blob.hex)"), "\(world.calls.made)")
        let linked = try #require(world.calls.index(.put, "repositories/a/b/_manifests/"))
        #expect(renewed < linked)
    }

    @Test("an index's push renews the manifests that it names")
    func index() async throws {
        let world = try PushWorld()
        let child = try await world.put(world.manifest([]), "child")
        world.pass(Self.aWhile)
        world.calls.start()
        let descriptor = world.descriptor(child, .ociManifest)
        let index = Array(#"{"schemaVersion":2,"manifests":[\#(descriptor)]}"#.utf8)
        try await world.put(index, "index", type: MediaType.ociIndex.text)
        let renewed = try #require(world.calls.index(.put, "blobs/sha256/\(child.hex.prefix(2))/\(child.hex)"))
        #expect(renewed < (try #require(world.calls.index(.put, "repositories/a/b/_manifests/"))))
    }

    @Test("whoever asks for a blob, or mounts it, renews it; a young lease costs no write")
    func blob() async throws {
        let world = try PushWorld()
        let blob = try await world.push("content")
        let record = "blobs/sha256/\(blob.hex.prefix(2))/\(blob.hex)"
        world.calls.start()
        _ = try await world.registry.blob(world.name, blob)
        #expect(world.calls.index(.put, "") == nil)
        world.pass(Self.aWhile)
        _ = try await world.registry.blob(world.name, blob)
        #expect(world.calls.index(.put, record) != nil)
        world.calls.start()
        _ = try await world.registry.mount(blob, from: world.name, to: try RepositoryName(parsing: "other"))
        let renewed = try #require(world.calls.index(.put, record))
        #expect(renewed < (try #require(world.calls.index(.put, "repositories/other/_blobs/"))))
    }

    @Test("what the repository had and was collected is missing, until it is pushed again", arguments: [true, false])
    func gone(isIndex: Bool) async throws {
        let world = try PushWorld()
        let content = isIndex ? try await world.put(world.manifest([]), "child") : try await world.push("content")
        #expect(try await world.blobs.retire(content, cutoff: .max, dryRun: false) != .kept)
        let descriptor = world.descriptor(content, .ociManifest)
        let manifest =
            isIndex ? Array(#"{"schemaVersion":2,"manifests":[\#(descriptor)]}"#.utf8) : world.manifest([content])
        let type = isIndex ? MediaType.ociIndex.text : MediaType.ociManifest.text
        let error = await #expect(throws: RegistryError.self) { try await world.put(manifest, "a", type: type) }
        guard case .missingContent([content])? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(try await world.manifest("a") == nil)
        #expect(try await world.manifest(Digest.of(manifest).description) == nil)
        if isIndex { try await world.put(world.manifest([]), "child") } else { try await world.push("content") }
        try await world.put(manifest, "a", type: type)
        #expect(try await world.manifest("a") == manifest)
    }
}
