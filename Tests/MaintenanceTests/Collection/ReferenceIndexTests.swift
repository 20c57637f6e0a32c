import Blobs
import JSON
import OCI
import ObjectStore
import RegistryTesting
import TestSupport
import Testing

@testable import Maintenance
@testable import Registry

@Suite("What collections remember of repositories")
struct ReferenceIndexTests {
    @Test("a repository is read again only after something in it changed")
    func readsChanges() async throws {
        let world = try CollectionWorld()
        let (quiet, busy) = (try RepositoryName(parsing: "quiet"), try RepositoryName(parsing: "quiet/busy"))
        let kept = try await world.image("kept", in: quiet)
        let dropped = try await world.image("dropped", in: busy)
        #expect(try await world.collect().repositoriesRead == 2)
        #expect(try await world.collect().repositoriesRead == 2, "somebody may be about to push")
        world.pass(3601)
        #expect(try await world.collect(dryRun: true).repositoriesRead == 2)
        #expect(try await world.collect().repositoriesRead == 2, "a dry run writes nothing down")
        let report = try await world.collect()
        #expect(report.repositoriesRead == 0 && report.repositories == 2 && report.marked == 4)
        #expect(try await world.collect(dryRun: true).repositoriesRead == 0)

        world.pass(100_000)
        try await world.registry.deleteManifest(busy, dropped)
        let added = try await world.image("added", in: busy)
        #expect(try await world.collect().repositoriesRead == 1)
        #expect(try await world.areWhole([kept, added]))
        await #expect(throws: BlobError.self) { try await world.blobs.read(dropped, maximum: 4096) }
        world.pass(3601)
        #expect(try await world.collect().repositoriesRead == 1)
        #expect(try await world.collect().repositoriesRead == 0)
        #expect(try await world.areWhole([kept, added]))
    }

    @Test(
        "whatever is pushed, deleted and collected in whatever order, what is named stays and the rest goes",
        arguments: 0..<UInt64(60))
    func anyOrder(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        let world = try CollectionWorld()
        let names = try ["a", "a/b", "a-b"].map { try RepositoryName(parsing: $0) }
        var living: [RepositoryName: Set<Digest>] = [:]
        for _ in 0..<60 {
            let name = names[Int.random(in: 0..<3, using: &random)]
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<3:
                living[name, default: []].insert(
                    try await world.image("\(Int.random(in: 0..<8, using: &random))", in: name))
            case 3..<5:
                guard let digest = living[name]?.randomElement(using: &random) else { continue }
                try await world.registry.deleteManifest(name, digest)
                living[name]?.remove(digest)
            case 5..<8: world.pass(Int64.random(in: 1..<4000, using: &random))
            default:
                _ = try await world.collect()
                #expect(try await world.areWhole(living.values.joined()))
            }
        }
        world.pass(100_000)
        _ = try await world.collect()
        _ = try await world.collect()
        let all = Set(living.values.joined())
        #expect(try await world.areWhole(all))
        #expect(try await world.contents() == 2 * all.count)
    }

    @Test("a collection in the middle of a push takes nothing down that the push then changes")
    func inTheMiddle() async throws {
        let world = try CollectionWorld()
        let store = StagedStore(base: world.store)
        let registry = Registry(store: store, blobs: world.blobs, now: { world.now })
        _ = try await world.image("first", in: world.name)
        // The marker is so young that the second push relies on it as it is.
        world.pass(800)
        let config = try await world.push("config")
        store.before({ $0.operation == .put && $0.key?.contains("/_manifests/") == true }) {
            world.pass(2600)
            _ = try? await world.collect()
        }
        let manifest = world.manifest(config: config, layers: [])
        _ = try await registry.putManifest(
            world.name, .tag(try Tag(parsing: "second")), contentType: MediaType.ociManifest.text, manifest)
        #expect(store.hasHappened)
        world.pass(100_000)
        #expect(try await world.collect().retired == 0)
        #expect(try await world.areWhole([Digest.of(manifest)]))
    }

    @Test("what is pushed after a restart with a longer grace period is not taken for what a collection read before it")
    func longerGrace() async throws {
        let world = try CollectionWorld()
        let hasty = try world.restarted(grace: 1)
        let first = try await hasty.image("first", in: world.name)
        world.pass(2)
        _ = try await hasty.collect()
        #expect(try await hasty.collect().repositoriesRead == 0, "it is taken down")

        let calm = try world.restarted(grace: 3600)
        world.pass(1)
        let second = try await calm.image("second", in: world.name)
        for patient in [calm, try world.restarted(grace: 1)] {
            world.pass(100_000)
            #expect(try await patient.collect().retired == 0)
            #expect(try await world.areWhole([first, second]))
        }
    }

    @Test("a repository whose marker is lost after a collection keeps its content, and is listed again")
    func lostMarker() async throws {
        let world = try CollectionWorld()
        let names = try ["a", "b/c", "z"].map { try RepositoryName(parsing: $0) }
        var images: [Digest] = []
        for name in names { images.append(try await world.image("an image of \(name)", in: name)) }
        world.pass(100_000)
        _ = try await world.collect()
        for name in names {
            try await world.store.delete(try RepositoryKeys(name: name).marker(), ifVersion: nil)
            world.pass(100_000)
            #expect(try await world.collect().retired == 0)
            #expect(try await world.areWhole(Set(images)))
            #expect(try await world.registry.catalog(after: nil, limit: 10) == ["a", "b!c", "z"])
        }
        // A repository without manifests needs no marker.
        try await world.registry.deleteManifest(names[0], images[0])
        world.pass(100_000)
        _ = try await world.collect()
        try await world.store.delete(try RepositoryKeys(name: names[0]).marker(), ifVersion: nil)
        world.pass(100_000)
        _ = try await world.collect()
        #expect(try await world.registry.catalog(after: nil, limit: 10) == ["b!c", "z"])
    }

    @Test("a repository's marker is renewed before a manifest comes or goes")
    func order() async throws {
        let world = try PushWorld()
        let membership = "repositories/a/b/_manifests/"
        for tag in ["v1", "v2"] {
            world.pass(901)
            world.calls.start()
            try await world.put(world.manifest([], note: tag), tag)
            let renewal = try #require(world.calls.index(.put, "catalog/"))
            #expect(try renewal < #require(world.calls.index(.put, membership)))
        }
        world.calls.start()
        try await world.put(world.manifest([], note: "v3"), "v3")
        #expect(world.calls.index(.put, "catalog/") == nil, "young enough")
        world.pass(901)
        world.calls.start()
        try await world.registry.deleteManifest(world.name, Digest.of(world.manifest([], note: "v1")))
        let renewal = try #require(world.calls.index(.put, "catalog/"))
        #expect(try renewal < #require(world.calls.index(.delete, membership)))
    }

    @Test("an index that is damaged, anywhere and however, costs time and nothing else", arguments: 0..<UInt64(40))
    func damage(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        let world = try CollectionWorld()
        let names = try (0..<20).map { try RepositoryName(parsing: "r\($0)") }
        var images: [Digest] = []
        for name in names { images.append(try await world.image(name.text, in: name)) }
        world.pass(100_000)
        _ = try await world.collect()
        let key = try #require(try await world.indexes().first)
        var bytes = try await world.store.get(key).bytes
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: bytes.removeLast(Int.random(in: 1...bytes.count, using: &random))
        case 2: bytes.removeFirst(Int.random(in: 1...bytes.count, using: &random))
        default: bytes = (0..<bytes.count).map { _ in UInt8.random(in: 0...255, using: &random) }
        }
        try await world.store.put(key, bytes, if: .always)
        let report = try await world.collect()
        #expect(report.retired == 0 && report.marked == 40 && report.repositoriesRead == 20)
        #expect(try await world.areWhole(images))
        #expect(try await world.collect().repositoriesRead == 0)
        #expect(try await world.indexes().count == 1)
    }

    @Test("an index of many frames says of each marker what was put in, and ends where a frame is damaged")
    func frames() async throws {
        let store = MemoryObjectStore()
        var random = SeededRandom(seed: 1)
        let entries = (0..<4000).map { index in
            IndexedReferences(
                marker: "r\(100_000 + index)", version: ObjectVersion(token: "v\(index)"),
                keys: (0..<Int.random(in: 0..<80, using: &random)).map { _ in .random(in: 1 ... .max, using: &random) })
        }
        var writer = try await ReferenceIndexWriter(.repositories, in: store)
        for entry in entries { try await writer.append(entry) }
        try await writer.finish()
        let key = try #require(try await ReferenceIndex.list(.repositories, in: store).first)

        var reader = await ReferenceIndexReader(key, in: store)
        for (index, entry) in entries.enumerated() where index % 3 != 0 {
            let version = index % 5 == 0 ? ObjectVersion(token: "other") : entry.version
            let found = await reader.entry(of: entry.marker, version)
            #expect(found == (index % 5 == 0 ? nil : entry))
            let other = await reader.entry(of: entry.marker + "-", entry.version)
            #expect(other == nil)
        }
        let last = await reader.entry(of: "s", ObjectVersion(token: "v"))
        #expect(last == nil)

        var bytes = try await store.get(key).bytes
        #expect(bytes.count > 4 * ReferenceIndex.targetSize)
        bytes[bytes.count / 2] ^= 1
        try await store.put(key, bytes, if: .always)
        reader = await ReferenceIndexReader(key, in: store)
        var found: [Bool] = []
        for entry in entries { found.append(await reader.entry(of: entry.marker, entry.version) == entry) }
        let end = try #require(found.firstIndex(of: false))
        #expect(end > 1000 && !found[end...].contains(true))
    }

    @Test("a full disk stops no collection", arguments: [ObjectOperation.writer, .write, .finish])
    func full(operation: ObjectOperation) async throws {
        let world = try CollectionWorld()
        let image = try await world.image("kept", in: world.name)
        _ = try await world.push("garbage")
        world.pass(100_000)
        let store = InstrumentedObjectStore(world.store) { (made, _) throws(ObjectStoreError) in
            if made == operation { throw .full }
        }
        let registry = Registry(store: store, blobs: world.blobs, now: { world.now })
        let owners = ContentOwners([PushedRepositories(registry: registry)])
        let collector = GarbageCollector(owners: owners, blobs: world.blobs, reading: store, clockSkew: 0)
        for _ in 0..<2 {
            let report = try await collector.collect()
            #expect(report.repositoriesRead == 1)
        }
        #expect(try await world.areWhole([image]))
        #expect(try await world.contents() == 2, "the garbage went")
        #expect(try await world.indexes().isEmpty)
    }

    @Test("an index that a crash left beside a newer one is not asked, and goes")
    func leftover() async throws {
        let world = try CollectionWorld()
        _ = try await world.image("kept", in: world.name)
        world.pass(100_000)
        try await world.store.put(try ObjectKey("collection/references/old"), [1, 2, 3], if: .absent)
        world.pass(1)
        _ = try await world.collect()
        #expect(try await world.indexes().count == 1)
        #expect(try await world.collect().repositoriesRead == 0)
    }
}

extension CollectionWorld {
    /// Pushes a manifest with a configuration of its own.
    fileprivate func image(_ text: String, in name: RepositoryName) async throws -> Digest {
        let config = try await push("config of \(text)", to: name)
        let bytes = manifest(config: config, layers: [])
        let reference = try Reference(parsing: Digest.of(bytes).description)
        return try await registry.putManifest(name, reference, contentType: MediaType.ociManifest.text, bytes).digest
    }

    /// Whether manifests and all that they name can be read.
    fileprivate func areWhole(_ manifests: some Sequence<Digest>) async throws -> Bool {
        for manifest in manifests {
            guard let bytes = try? await blobs.read(manifest, maximum: 4096),
                let config = try? Manifest(json: JSONValue(parsing: bytes)).config.digest,
                (try? await blobs.read(config, maximum: 4096)) != nil
            else { return false }
        }
        return true
    }

    fileprivate func indexes() async throws -> [ObjectKey] { try await ReferenceIndex.list(.repositories, in: store) }
}
