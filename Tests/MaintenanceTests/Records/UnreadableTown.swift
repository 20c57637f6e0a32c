import Archive
import Bits
import Blobs
import Clusters
import Droplets
import Images
import ImagesTesting
import JSON
import Layers
import Logging
import Maintenance
import OCI
import ObjectStore
import Operations
import Records
import Registry
import Rootfs
import TestSupport

/// A store with a record of each kind, and all who keep them over it.
struct UnreadableTown {
    private static let second: Int64 = 1_000_000_000
    private static let start: Int64 = 1_800_000_000 * second
    private static let grace: Int64 = 3600 * second
    static let stack = TestHouse.stack

    let memory: MemoryObjectStore
    let unreadable = UnreadableRecords()
    let blobs: BlobStore
    let registry: Registry
    let droplets: DropletCatalog
    let rootfs: RootfsCatalog
    let builds: BuildRootfsCatalog
    let images: DerivedImages
    let bits: BitsCatalog
    let pins: RunningImages
    let clusters: ClusterCatalog
    let retention: Retention
    let owners: ContentOwners
    private let now: @Sendable () -> Int64

    /// Everything anew, as after a restart hours later.
    init(_ memory: MemoryObjectStore) async throws {
        self.memory = memory
        let now: @Sendable () -> Int64 = { Self.start + 3 * Self.grace }
        self.now = now
        blobs = BlobStore(store: memory, now: now, grace: Self.grace, unreadable: unreadable)
        registry = Registry(store: memory, blobs: blobs, now: now)
        droplets = DropletCatalog(store: memory, blobs: blobs, conversions: 1, unreadable: unreadable, now: now)
        rootfs = try await RootfsCatalog(store: memory, blobs: blobs, unreadable: unreadable, now: now)
        images = DerivedImages(
            droplets: droplets, rootfs: rootfs, recipes: try await RecipeStore(store: memory, unreadable: unreadable),
            lifecycle: [:])
        bits = BitsCatalog(
            store: memory, blobs: blobs, limits: BitsLimits(bytes: 1 << 20), unreadable: unreadable, now: now)
        pins = RunningImages(store: memory, unreadable: unreadable, now: now)
        clusters = ClusterCatalog(store: memory, pins: pins, unreadable: unreadable, now: now)
        retention = Retention(
            images: images, pins: pins, clusters: clusters,
            policy: RetentionPolicy(droplets: 1, rootfs: 1, untagged: 0), now: now)
        builds = try await BuildRootfsCatalog(store: memory, blobs: blobs, unreadable: unreadable, now: now)
        owners = ContentOwners(registry: registry, images: images, builds: builds, bits: bits)
    }

    func collect() async throws -> CollectionReport {
        let retired = try await retention.apply(to: owners, dryRun: false)
        return try await GarbageCollector(owners: owners, blobs: blobs, reading: memory, clockSkew: 0)
            .collect(after: retired)
    }

    func verify(repair: Bool = false) async throws -> VerificationReport {
        try await Verifier(owners: owners, blobs: blobs, reading: memory).verify(rate: 1 << 40, repair: repair)
    }

    /// What is used, by a count that is done.
    func count() async throws -> QuotaUsage.Count? {
        let ledger = QuotaLedger()
        try await UsageCounter(quotas: ledger, owners: owners, reading: memory, now: now).count()
        return ledger.usage.count
    }

    /// An image's layer, too large for a record.
    static func layer(_ content: String) -> [UInt8] { Array((content + String(repeating: ".", count: 5000)).utf8) }

    func push(_ name: String, _ tag: String, _ content: String, subject: Digest? = nil) async throws -> Digest {
        try await Self.push(registry, name, tag, content, subject: subject)
    }

    private static func push(
        _ registry: Registry, _ name: String, _ tag: String, _ content: String, subject: Digest? = nil
    ) async throws -> Digest {
        let name = try RepositoryName(parsing: name)
        let uploads = UploadSessions(registry: registry)
        var descriptors: [Descriptor] = []
        for bytes in [Array("{}".utf8), layer(content)] {
            let digest = Digest.of(bytes)
            _ = try await uploads.take(UploadOwner(repository: name, user: "u"), Chunks(bytes), as: digest)
            descriptors.append(Descriptor(mediaType: .ociLayer, digest: digest, size: Int64(bytes.count)))
        }
        let manifest = Manifest(
            mediaType: .ociManifest, config: descriptors[0], layers: [descriptors[1]],
            subject: subject.map { Descriptor(mediaType: .ociManifest, digest: $0, size: 1) })
        return try await registry.putManifest(
            name, try Reference(parsing: tag), contentType: MediaType.ociManifest.text, manifest.json.canonicalBytes
        ).digest
    }

    /// A store with everything: `a/b` and `app` are there to be damaged, `c/d` and `other` to be unharmed.
    static func fill() async throws -> MemoryObjectStore {
        let memory = MemoryObjectStore()
        let now: @Sendable () -> Int64 = { start }
        let house = try await TestHouse(
            store: memory, deltas: DeltaPolicy(maximumPercent: 1000, maximumLength: 5), now: now)
        let registry = Registry(store: memory, blobs: house.blobs, now: now)
        for name in ["a/b", "c/d"] {
            let subject = try await push(registry, name, "v1", name)
            _ = try await push(registry, name, "v2", name + " signed", subject: subject)
        }
        let bits = BitsCatalog(
            store: memory, blobs: house.blobs,
            limits: BitsLimits(bytes: 1 << 20, stash: StashRules(sizes: 0...(1 << 20))), now: now)
        for guid in ["app", "other"] {
            let bytes = try TestZip.bytes(["manifest.yml": "stack: teststack\n", "bin/detect": guid])
            for name in [
                try BitsName(.packages, guid), try BitsName(.buildpacks, guid),
                try BitsName(cacheOf: guid, stack: "teststack"),
            ] {
                _ = try await bits.upload(BitsUpload(name: name, by: "t"), from: Chunks(bytes))
            }
            _ = try await bits.stash(filesOf: Chunks(bytes), length: nil)
            let name = try BitsName(.packages, guid + "-2")
            _ = try await bits.accept(BitsUpload(name: name, by: "t"), from: Chunks(bytes + [0]))
        }
        for version in ["1", "2"] { try await house.importRootfs(version) }
        let stack = try StackName(stack)
        for guid in ["app", "other"] {
            let droplet = try await house.upload(guid, TestTar.droplet(guid))
            for version in ["1", "2"] { _ = try await house.image(guid, "\(droplet.hash)-\(version)") }
        }
        try await house.importBuildRootfs(
            "1", into: try await BuildRootfsCatalog(store: memory, blobs: house.blobs, now: now))
        try await house.promote("2")
        _ = try await house.rootfs.computeDelta(
            DeltaRequest(
                stack: stack, from: try VersionName("1"), to: try VersionName("2"), architecture: .amd64,
                times: .compared, compression: .gzip, by: "t"))
        _ = try await house.rootfs.setState(stack, try VersionName("1"), .deprecated, by: "t", reason: "old")
        // As a migration leaves it that was interrupted.
        let state: JSONValue = ["at": 1, "by": "t", "reason": "old", "state": "deprecated"]
        try await memory.put(try ObjectKey("rootfs/\(stack)/1/state"), state.canonicalBytes, if: .absent)
        let east = try ClusterName("east")
        let pins = RunningImages(store: memory, now: now)
        try await pins.report(east, shard: 0, of: 1, [])
        let clusters = ClusterCatalog(store: memory, pins: pins, now: now)
        let (secret, _) = try await clusters.add(east, labels: ["stage": "test"], by: "t")
        _ = try await clusters.exchange(secret, for: ClusterCatalog.makeSecret(), of: east)
        try await clusters.keep(east, agent: "1", kubernetes: "1", problems: ["none"], unpinned: 0)
        let operations = OperationRunner(
            store: memory, isExclusive: true, describe: { .init(code: "", message: "\($0)") }, now: now,
            logger: Logger(label: "test"))
        try await operations.begin(OperationRequest(kind: "gc", by: "t")) { _ in .null }
        // Takes down what repositories name.
        _ = try await UnreadableTown(memory).collect()
        return memory
    }
}
