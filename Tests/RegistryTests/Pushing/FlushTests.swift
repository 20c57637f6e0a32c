import OCI
import ObjectStore
import RegistryTesting
import TestSupport
import Testing

@testable import Registry

@Suite("How often a push waits for the disk")
struct FlushTests {
    @Test("a blob twice: once for its bytes and once for what is said of them", arguments: [0, 1, 5])
    func blob(chunks: Int) async throws {
        let world = try PushWorld()
        let bytes = (0..<chunks).map { [UInt8](repeating: UInt8($0), count: 1000) }
        let digest = Digest.of(Array(bytes.joined()))
        world.calls.start()
        _ = try await world.uploads.take(world.owner(), AsyncElements(bytes), as: digest)
        #expect((1...2).contains(world.calls.flushes), "\(world.calls.made)")
    }

    @Test("a blob in many requests no more often", arguments: [DigestAlgorithm.sha256, .sha512])
    func chunks(algorithm: DigestAlgorithm) async throws {
        let world = try PushWorld()
        world.calls.start()
        let owner = world.owner()
        let id = try world.uploads.begin(owner, .sha256)
        for number in 0..<5 { _ = try await world.uploads.append(id, owner, nil, AsyncElements([[UInt8(number)]])) }
        let digest = Digest.of([0, 1, 2, 3, 4], algorithm)
        _ = try await world.uploads.finish(id, owner, nil, AsyncElements<[UInt8]>([]), as: digest)
        #expect((1...2).contains(world.calls.flushes), "\(world.calls.made)")
    }

    @Test("a mount, and every delete, once")
    func once() async throws {
        let world = try PushWorld()
        let other = try RepositoryName(parsing: "other")
        let blob = try await world.push("blob", to: other)
        world.calls.start()
        _ = try await world.registry.mount(blob, from: other, to: world.name)
        #expect(world.calls.flushes == 1)
        world.calls.start()
        try await world.registry.deleteBlob(world.name, blob)
        #expect(world.calls.flushes == 1)
        let digest = try await world.put(world.manifest([], subject: blob), "a", tags: ["b"])
        world.calls.start()
        try await world.registry.deleteTag(world.name, try Tag(parsing: "a"))
        #expect(world.calls.flushes == 1)
        world.calls.start()
        try await world.registry.deleteManifest(world.name, digest)
        #expect(world.calls.flushes == 1)
    }

    @Test("a manifest with tags and subject once: it and all that is said of it are small objects, written in order")
    func manifest() async throws {
        let world = try PushWorld()
        let layer = try await world.push("layer")
        world.calls.start()
        try await world.put(world.manifest([layer], subject: layer), "a", tags: ["b", "c"])
        #expect(world.calls.flushes == 1, "\(world.calls.made)")
        #expect(world.calls.made.last?.operation == .sync, "the answer is given when all of it is durable")
    }
}
