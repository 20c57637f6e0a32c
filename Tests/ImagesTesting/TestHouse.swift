package import Archive
package import Blobs
package import Droplets
package import Images
package import Layers
package import Logging
package import OCI
package import ObjectStore
package import Rootfs
package import Signatures
package import TestSupport

/// The catalogs over a memory store, as a server puts them together.
package struct TestHouse {
    package let store: MemoryObjectStore
    package let blobs: BlobStore
    package let droplets: DropletCatalog
    package let rootfs: RootfsCatalog
    package let images: DerivedImages
    package static let stack = "teststack"

    /// - Parameters:
    ///   - store: of an earlier house, as after a restart.
    ///   - through: what the catalogs see of it; the store itself unless given.
    ///   - launch: the lifecycle program's bytes; others as after an upgrade.
    ///   - now: nanoseconds since 1970.
    package init(
        store: MemoryObjectStore = MemoryObjectStore(), through: (any ObjectStore)? = nil, launch: String = "launch 1",
        quotas: QuotaLedger = QuotaLedger(),
        deltas: DeltaPolicy? = nil, architectures: [Architecture] = [.amd64], keys: [SigningKey] = [],
        now: @escaping @Sendable () -> Int64 = { 1_800_000_000_000_000_000 }
    ) async throws {
        self.store = store
        let store = through ?? store
        blobs = BlobStore(store: store, now: now)
        droplets = DropletCatalog(store: store, blobs: blobs, quotas: quotas, conversions: 4, now: now)
        rootfs = try await RootfsCatalog(store: store, blobs: blobs, now: now)
        let layer = try await LifecycleLayer.install(launch: Array(launch.utf8), in: blobs, store: store)
        images = DerivedImages(
            droplets: droplets, rootfs: rootfs, recipes: try await RecipeStore(store: store),
            lifecycle: Dictionary(uniqueKeysWithValues: architectures.map { ($0, layer) }), deltas: deltas,
            signingKeys: keys)
    }

    package static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    /// - Parameters:
    ///   - release: its os-release.
    ///   - others: what it has besides.
    @discardableResult
    package func importRootfs(
        _ version: String, content: String? = nil, checksum: Checksum? = nil, architecture: Architecture = .amd64,
        release: String? = nil, _ others: [TestTar.Entry] = []
    ) async throws -> RootfsVersion {
        let content = content ?? version + (architecture == .amd64 ? "" : " (\(architecture))")
        let tar = TestRootfs(
            shell: .program("bin/bash", TestRootfs.elf(machine: architecture == .amd64 ? 62 : 183)),
            osRelease: release ?? "PRETTY_NAME=\"Test \(version)\"\n", more: [.file("content", content)] + others
        ).tar
        return try await take(tar.bytes, version: version, checksum: checksum, architecture: architecture)
    }

    /// Imports whatever bytes there are.
    @discardableResult
    package func take(
        _ bytes: [UInt8], version: String = "1", checksum: Checksum? = nil, shell: String = "/bin/bash",
        architecture: Architecture = .amd64, limits: ConversionLimits = ConversionLimits(),
        source: RootfsSource = RootfsSource()
    ) async throws -> RootfsVersion {
        try await rootfs.importRootfs(
            RootfsImport(
                stack: try StackName(Self.stack), version: try VersionName(version), architecture: architecture,
                checksum: checksum, shell: shell, compression: .gzip, limits: limits, by: "tester", source: source),
            from: Chunks(bytes), logger: Self.logger)
    }

    /// Imports what builds of a version run in.
    @discardableResult
    package func importBuildRootfs(
        _ version: String, content: String = "compilers", into builds: BuildRootfsCatalog
    ) async throws -> RootfsVersion {
        let tar = TestRootfs(
            shell: .program("bin/bash", TestRootfs.elf(machine: 62)), osRelease: "PRETTY_NAME=\"Test \(version)\"\n",
            more: [.file("content", content)]
        ).tar
        return try await builds.importRootfs(
            RootfsImport(
                stack: try StackName(Self.stack), version: try VersionName(version), architecture: .amd64,
                checksum: nil, shell: "/bin/bash", compression: .gzip, limits: ConversionLimits(), by: "tester"),
            from: Chunks(tar.bytes), logger: Self.logger)
    }

    @discardableResult
    package func promote(_ version: String) async throws -> PromotionHistory {
        try await rootfs.promote(
            try StackName(Self.stack), try VersionName(version), by: "tester", reason: "")
    }

    @discardableResult
    package func upload(
        _ guid: String, _ tar: TestTar, checksum: Checksum? = nil, mode: LayerMode = .single,
        level: CompressionLevel = .fast, architecture: Architecture = .amd64, staged: [StagedBuildpack] = [],
        owner: DropletOwner = .unknown, stated: StatedBase? = nil
    ) async throws -> DropletRecord {
        try await droplets.upload(
            DropletUpload(
                guid: try DropletGUID(guid), stack: try StackName(Self.stack), architecture: architecture,
                checksum: checksum, layout: DropletLayout(mode: mode, level: level), limits: ConversionLimits(),
                by: "tester", staged: staged, owner: owner, stated: stated),
            from: Chunks(tar.bytes), logger: Self.logger)
    }

    package func image(
        _ guid: String, _ tag: String, _ family: MediaTypeFamily = .oci
    ) async throws -> ComposedImage {
        guard let tag = DropletTag(try Tag(parsing: tag)) else { throw OCIError.tag(tag) }
        return try await images.image(try DropletGUID(guid), tag, family)
    }

    /// The image of an app's repository with a digest.
    package func image(_ guid: DropletGUID, _ digest: Digest) async throws -> DerivedManifest? {
        try await app(guid).manifest(.digest(digest), .any)
    }

    package func app(_ guid: DropletGUID) throws -> DerivedRepository { try derived(guid.repository) }

    /// The repository of the base images.
    package func bases() throws -> DerivedRepository {
        try derived(try RepositoryName(parsing: "cistern/" + Self.stack))
    }

    /// What a tag of the base images stands for.
    package func base(_ tag: String, _ accepted: AcceptedFamilies = .images(.oci)) async throws -> DerivedManifest? {
        try await bases().manifest(.tag(try Tag(parsing: tag)), accepted)
    }

    private func derived(_ name: RepositoryName) throws -> DerivedRepository {
        guard let repository = DerivedRepository(name, in: images) else { throw OCIError.name(name.text) }
        return repository
    }

    /// Every key that there is.
    package func allKeys() async throws -> Set<String> {
        Set(try await store.list(prefix: "", startAfter: nil, limit: 100_000).map(\.key.text))
    }

    /// Every key that names something a client could see.
    package func visibleKeys() async throws -> [String] {
        try await store.list(prefix: "", startAfter: nil, limit: 10_000).map(\.key.text)
            .filter { !$0.hasPrefix("data/") && !$0.hasPrefix("blobs/") }
    }
}

extension AcceptedFamilies {
    /// Of a client that accepts images and indexes of a family.
    package static func all(_ family: MediaTypeFamily) -> Self { Self(image: family, index: family) }
    /// Of a client that accepts no index.
    package static func images(_ family: MediaTypeFamily) -> Self { Self(image: family, index: nil) }
    package static let any = Self.all(.oci)
}
