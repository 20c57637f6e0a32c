import OCI
import Registry
import RegistryTesting
import Testing

@testable import Maintenance

@Suite("Untagged manifests")
struct UntaggedTests {
    private func retire(
        _ world: CollectionWorld, running: Set<Digest> = [], isRunningKnown: Bool = true,
        dryRun: Bool = false
    ) async throws -> Int {
        var retirement = Retirement(
            policy: RetentionPolicy(untagged: 5000 * CollectionWorld.second), isDryRun: dryRun,
            running: RunningSet(digests: running),
            isRunningKnown: isRunningKnown)
        try await PushedRepositories(registry: world.registry).retire(&retirement)
        return retirement.report.manifests
    }

    private func has(_ world: CollectionWorld, _ digest: Digest) async -> Bool {
        (try? await world.registry.manifest(world.name, .digest(digest))) != nil
    }

    @Test("go when they are old, unless a tag, an index that stays or a subject that stays needs them")
    func old() async throws {
        let world = try CollectionWorld()
        let config = try await world.push("{}")
        func image(_ text: String, _ reference: String? = nil) async throws -> Digest {
            let bytes = world.manifest(config: config, layers: [Digest.of(Array(text.utf8))])
            return try await world.put(bytes, reference ?? Digest.of(bytes).description)
        }
        let tagged = try await image("tagged", "v1")
        let lonely = try await image("lonely")
        let child = try await image("child")
        let subject = Descriptor(mediaType: .ociManifest, digest: tagged, size: 1)
        let referrer = Manifest(
            mediaType: .ociManifest, config: Descriptor(mediaType: .ociConfig, digest: config, size: 2), layers: [],
            subject: subject)
        let signature = try await world.put(referrer, nil)
        let index = Index(
            mediaType: .ociIndex,
            manifests: [Descriptor(mediaType: .ociManifest, digest: child, size: world.sizes[child])])
        let top = try await world.put(index, "list")
        world.pass(6000)
        let young = try await image("young")
        #expect(try await retire(world, dryRun: true) == 1)
        #expect(await has(world, lonely))
        #expect(try await retire(world, running: [lonely]) == 0, "it runs somewhere")
        #expect(try await retire(world, isRunningKnown: false) == 0, "it may run somewhere")
        #expect(try await retire(world) == 1)
        #expect(await !has(world, lonely))
        for digest in [tagged, child, signature, top, young] { #expect(await has(world, digest)) }
        try await world.registry.deleteTag(world.name, try Tag(parsing: "v1"))
        try await world.registry.deleteTag(world.name, try Tag(parsing: "list"))
        #expect(try await retire(world) == 4, "the image with its signature, the index with its image")
        #expect(
            try await world.registry.referrers(world.name, of: tagged, artifactType: nil, after: nil).elements == [])
    }

    @Test("who asks for one by digest, or names it in an index, may rely on it")
    func asked() async throws {
        let world = try CollectionWorld()
        let config = try await world.push("{}")
        let bytes = world.manifest(config: config, layers: [])
        let digest = try await world.put(bytes, Digest.of(bytes).description)
        world.pass(6000)
        _ = try await world.registry.manifestInfo(world.name, .digest(digest))
        #expect(try await retire(world) == 0)
        world.pass(6000)
        let index = Index(
            mediaType: .ociIndex,
            manifests: [Descriptor(mediaType: .ociManifest, digest: digest, size: world.sizes[digest])])
        _ = try await world.put(index, "list")
        try await world.registry.deleteTag(world.name, try Tag(parsing: "list"))
        #expect(try await retire(world) == 0)
        world.pass(6000)
        #expect(try await retire(world) == 2)
    }
}
