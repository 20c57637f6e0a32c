import Blobs
import JSON
import OCI
import ObjectStore
import Records
import RegistryTesting
import Synchronization
import TestSupport
import Testing

@testable import Maintenance
@testable import Registry

/// A registry over memory with a clock that is set by hand.
struct CollectionWorld {
    static let second: Int64 = 1_000_000_000
    static let grace: Int64 = 3600 * second

    let store: MemoryObjectStore
    let blobs: BlobStore
    let registry: Registry
    let uploads: UploadSessions
    let name: RepositoryName
    let sizes = KnownSizes()
    private let time: Time

    final class Time: Sendable {
        private let value = Mutex<Int64>(1_000_000 * CollectionWorld.second)
        var now: Int64 { value.withLock { $0 } }
        func pass(_ seconds: Int64) { value.withLock { $0 += seconds * CollectionWorld.second } }
    }

    init() throws {
        let time = Time()
        try self.init(MemoryObjectStore(now: { time.now }), time, grace: Self.grace)
    }

    /// What the next process makes of the same store.
    /// - Parameter seconds: its grace period.
    func restarted(grace seconds: Int64) throws -> CollectionWorld {
        try CollectionWorld(store, time, grace: seconds * Self.second)
    }

    private init(_ store: MemoryObjectStore, _ time: Time, grace: Int64) throws {
        self.time = time
        self.store = store
        blobs = BlobStore(store: store, now: { time.now }, grace: grace)
        registry = Registry(store: store, blobs: blobs, now: { time.now })
        uploads = UploadSessions(registry: registry)
        name = try RepositoryName(parsing: "a/b")
    }

    func pass(_ seconds: Int64) { time.pass(seconds) }
    var now: Int64 { time.now }

    func push(_ text: String, to name: RepositoryName? = nil) async throws -> Digest {
        let bytes = Array(text.utf8)
        let digest = Digest.of(bytes)
        sizes.add(bytes)
        let owner = UploadOwner(repository: name ?? self.name, user: "u")
        _ = try await uploads.take(owner, AsyncElements([bytes]), as: digest)
        return digest
    }

    func manifest(config: Digest, layers: [Digest]) -> [UInt8] {
        func descriptor(_ digest: Digest) -> Descriptor {
            Descriptor(mediaType: .ociLayer, digest: digest, size: sizes[digest])
        }
        return Manifest(mediaType: .ociManifest, config: descriptor(config), layers: layers.map(descriptor))
            .json.canonicalBytes
    }

    func put(_ manifest: [UInt8], _ reference: String) async throws -> Digest {
        sizes.add(manifest)
        return try await registry.putManifest(
            name, try Reference(parsing: reference), contentType: MediaType.ociManifest.text, manifest
        ).digest
    }

    /// Pushes a document under a tag, or under its digest.
    func put(_ manifest: Manifest, _ tag: String?) async throws -> Digest {
        try await put(manifest.json.canonicalBytes, MediaType.ociManifest.text, tag)
    }

    func put(_ index: Index, _ tag: String?) async throws -> Digest {
        try await put(index.json.canonicalBytes, MediaType.ociIndex.text, tag)
    }

    private func put(_ bytes: [UInt8], _ contentType: String, _ tag: String?) async throws -> Digest {
        sizes.add(bytes)
        let reference = try Reference(parsing: tag ?? Digest.of(bytes).description)
        return try await registry.putManifest(name, reference, contentType: contentType, bytes).digest
    }

    /// All who own something.
    func owners(_ others: any ContentOwner...) -> ContentOwners {
        ContentOwners(others + [PushedRepositories(registry: registry)])
    }

    func collect(roots: [Digest] = [], dryRun: Bool = false) async throws -> CollectionReport {
        try await GarbageCollector(
            owners: owners(FixedRoots(digests: roots)), blobs: blobs, reading: store, clockSkew: 0
        ).collect(dryRun: dryRun)
    }

    /// Pieces of content that are kept, whoever names them.
    func contents() async throws -> Int { try await store.contentSizes().count }
}

/// Somebody who needs some digests.
struct FixedRoots: ContentOwner {
    let digests: [Digest]

    var records: [RecordFolder] { [] }
    func roots(_ mark: inout RootMark) async throws { mark.insert(digests) }
    func users(of digests: Set<Digest>) async throws -> [ContentUser] {
        self.digests.filter(digests.contains).map { ContentUser($0, "somebody") }
    }
}

@Suite("Garbage collection")
struct CollectionTests {
    @Test("what nothing refers to goes after the grace period, and its bytes with it", arguments: Content.allCases)
    func collects(content: Content) async throws {
        let world = try CollectionWorld()
        let size = Int64(content.bytes("garbage").count)
        let blob = try await world.push(content.text("garbage"))
        #expect(try await world.collect().retired == 0, "somebody may be about to refer to it")
        world.pass(3601)
        #expect(try await world.collect(dryRun: true).retired == 1)
        #expect(
            try await world.registry.blob(world.name, blob).size == size,
            "a dry run changes nothing, and this renews it")
        #expect(try await world.collect().retired == 0, "who asked for it may be about to refer to it")
        world.pass(3601)
        let report = try await world.collect()
        #expect(report.retired == 1 && report.retiredBytes == size)
        #expect(try await world.contents() == 0)
        await #expect(throws: RegistryError.self) { try await world.registry.blob(world.name, blob) }
    }

    @Test("what a manifest names stays, and goes when the manifest is deleted")
    func manifests() async throws {
        let world = try CollectionWorld()
        let (config, layer) = (try await world.push("{}"), try await world.push("layer"))
        let digest = try await world.put(world.manifest(config: config, layers: [layer]), "v1")
        world.pass(100_000)
        let report = try await world.collect()
        #expect(report.retired == 0 && report.marked == 3 && report.repositories == 1)
        _ = try await world.registry.manifest(world.name, try Reference(parsing: "v1"))
        try await world.registry.deleteManifest(world.name, digest)
        #expect(try await world.collect().retired == 3)
        #expect(try await world.contents() == 0)
    }

    @Test("roots stay without any repository")
    func roots() async throws {
        let world = try CollectionWorld()
        let blob = try await world.push("a droplet's layer")
        world.pass(100_000)
        #expect(try await world.collect(roots: [blob]).retired == 0)
        #expect(try await world.collect().retired == 1)
    }

    @Test("a manifest that names collected content is refused, and taken once that is pushed again")
    func collectedContent() async throws {
        let world = try CollectionWorld()
        let (config, layer) = (try await world.push("{}"), try await world.push("layer"))
        world.pass(100_000)
        #expect(try await world.collect().retired == 2)
        let manifest = world.manifest(config: config, layers: [layer])
        let error = await #expect(throws: RegistryError.self) { try await world.put(manifest, "v1") }
        guard case .missingContent(let digests)? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(Set(digests) == [config, layer])
        _ = try await world.push("{}")
        _ = try await world.push("layer")
        _ = try await world.put(manifest, "v1")
        world.pass(100_000)
        #expect(try await world.collect().retired == 0)
        #expect(try await world.blobs.read(layer, maximum: 10) == Array("layer".utf8))
    }

    @Test("nothing is left of a blob, and the next collection ends what a crash cut off", arguments: [false, true])
    func leavesNothing(isCutOff: Bool) async throws {
        let world = try CollectionWorld()
        let digest = try await world.push(Content.inObject.text("garbage"))
        if isCutOff {
            // The record is swapped, its bytes are still there.
            let key = try ObjectKey("blobs/sha256/\(digest.hex.prefix(2))/\(digest.hex)")
            let record = String(decoding: try await world.store.get(key).bytes, as: UTF8.self)
            let gone = record.replacing("\"live\"", with: "\"gone\"")
            #expect(gone != record)
            try await world.store.put(key, Array(gone.utf8), if: .always)
        } else {
            world.pass(3601)
        }
        #expect(try await world.collect().retired == (isCutOff ? 0 : 1))
        for prefix in ["blobs/", "data/"] {
            #expect(try await world.store.list(prefix: prefix, startAfter: nil, limit: 10).isEmpty)
        }
    }

    @Test("small content that has an object of its own, as all had once, is read, shared and collected like any other")
    func smallObject() async throws {
        let world = try CollectionWorld()
        let (bytes, id) = (Array("small".utf8), "0123456789abcdef0123456789abcdef")
        let digest = Digest.of(bytes)
        let key = try ObjectKey("blobs/sha256/\(digest.hex.prefix(2))/\(digest.hex)")
        let record = #"{"data":"\#(id)","lease":\#(world.now),"size":5,"state":"live"}"#
        try await world.store.put(try ObjectKey("data/\(id)"), bytes, if: .absent)
        try await world.store.put(key, Array(record.utf8), if: .absent)
        #expect(try await world.blobs.read(digest, maximum: 10) == bytes)
        _ = try await world.push("small")
        #expect(try await world.contents() == 1, "what is there is used")
        #expect(try await world.registry.blob(world.name, digest).size == 5)
        world.pass(3601)
        #expect(try await world.collect().retired == 1)
        #expect(try await world.contents() == 0)
    }

    @Test("a manifest's push renews what it names before it links it")
    func renews() async throws {
        let world = try CollectionWorld()
        let (config, layer) = (try await world.push("{}"), try await world.push("layer"))
        world.pass(3500)
        let digest = try await world.put(world.manifest(config: config, layers: [layer]), "v1")
        try await world.registry.deleteManifest(world.name, digest)
        world.pass(200)
        #expect(try await world.collect().retired == 0, "pushed 3,700 s ago, relied on 200 s ago")
    }

    @Test("two collectors at once, and one with pushes, hurt nobody", arguments: 0..<20, Content.allCases)
    func concurrent(round: Int, content: Content) async throws {
        let world = try CollectionWorld()
        for index in 0..<20 { _ = try await world.push(content.text("old \(index)")) }
        world.pass(3601)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<2 { group.addTask { _ = try await world.collect() } }
            for index in 0..<20 {
                group.addTask {
                    let blob = try await world.push(content.text("old \(index)"))
                    do {
                        _ = try await world.put(world.manifest(config: blob, layers: []), "v\(index)")
                    } catch RegistryError.missingContent {
                        Issue.record("a blob that was just pushed is gone")
                    }
                }
            }
            try await group.waitForAll()
        }
        for index in 0..<20 {
            let manifest = try await world.registry.manifest(world.name, try Reference(parsing: "v\(index)"))
            #expect(!manifest.bytes.isEmpty)
            let expected = content.bytes("old \(index)")
            #expect(try await world.blobs.read(Digest.of(expected), maximum: 10_000) == expected)
        }
    }
}

@Suite("A set of digests")
struct DigestSetTests {
    @Test("holds what was inserted and nothing else, however many")
    func many() {
        var set = DigestSet()
        let digests = (0..<20_000).map { Digest.of(Array("\($0)".utf8)) }
        for digest in digests { set.insert(digest) }
        for digest in digests { set.insert(digest) }
        #expect(set.count == 20_000)
        #expect(digests.allSatisfy(set.contains))
        #expect(!(20_000..<40_000).contains { set.contains(Digest.of(Array("\($0)".utf8))) })
    }
}
