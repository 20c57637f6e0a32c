public import Blobs
import Layers
public import Logging
import OCI
public import ObjectStore
public import Records
import Runtime
import Synchronization

/// The root filesystems that builds run in: of each stack versions that have compilers and tools beside what the run
/// rootfs of the same version has. None is current, and no image has their layers.
public final class BuildRootfsCatalog: Sendable {
    private struct Variant: Hashable {
        let stack: StackName
        let version: VersionName
        let architecture: Architecture
    }

    private let records: RecordStore<ImageError>
    private let blobs: BlobStore
    private let now: @Sendable () -> Int64
    private let variants = Mutex<[Variant: RootfsVersion]>([:])
    /// Held by each change, so that none is imported while it is removed.
    private let changes = Limiter(1)

    /// Reads all records, one for each variant. Those that can't be read are left out.
    /// - Parameters:
    ///   - unreadable: collects the records that can't be read.
    ///   - now: nanoseconds since 1970.
    public init(
        store: any ObjectStore, blobs: BlobStore, unreadable: UnreadableRecords = UnreadableRecords(),
        now: @escaping @Sendable () -> Int64
    ) async throws(ImageError) {
        records = RecordStore(store, unreadable: unreadable)
        self.blobs = blobs
        self.now = now
        try await records.forEach(Self.folder.prefix) { (key) throws(ImageError) in
            guard Self.isVersion(key) else {
                _ = try await records.stranger(key)
                return
            }
            if let version = try await records.readable(key, as: RootfsVersion.self)?.value { keepInMemory(version) }
        }
    }

    package static let folder = RecordFolder(
        "rootfs-build/", [RecordKind("build rootfs version", RootfsVersion.self) { isVersion($0) }])

    private static func isVersion(_ key: ObjectKey) -> Bool {
        let parts = key.text.split(separator: "/")
        return parts.count == 4 && (try? StackName(parts[1])) != nil && (try? VersionName(parts[2])) != nil
            && (try? Architecture(parts[3])) != nil
    }

    private static func key(_ version: RootfsVersion) throws(ImageError) -> ObjectKey {
        do {
            return try ObjectKey(
                "\(folder.prefix)\(version.stack)/\(version.version)/\(version.architecture.rawValue)")
        } catch { throw .store(error) }
    }

    private func keepInMemory(_ version: RootfsVersion) {
        variants.withLock {
            $0[Variant(stack: version.stack, version: version.version, architecture: version.architecture)] = version
        }
    }

    /// All variants, by stack, the latest import of a stack first.
    public var all: [RootfsVersion] {
        variants.withLock { Array($0.values) }.sorted {
            ($0.stack.text, $1.imported, $1.version.text, $1.architecture.rawValue)
                < ($1.stack.text, $0.imported, $0.version.text, $0.architecture.rawValue)
        }
    }

    /// A stack's variants, the latest import first; empty if it has none, since a stack need not have any.
    public func versions(_ stack: StackName) -> [RootfsVersion] { all.filter { $0.stack == stack } }

    /// - Throws: `.unknownVersion`, `.noVariant`.
    public func version(
        _ stack: StackName, _ version: VersionName, _ architecture: Architecture
    ) throws(ImageError) -> RootfsVersion {
        let found = versions(stack).filter { $0.version == version }
        guard !found.isEmpty else { throw .unknownVersion(stack, version) }
        guard let variant = found.first(where: { $0.architecture == architecture }) else {
            throw .noVariant(stack, version, architecture)
        }
        return variant
    }

    /// Imports one, as `RootfsCatalog.importRootfs` does, with the same requirements.
    public func importRootfs<Source: AsyncSequence & Sendable>(
        _ request: RootfsImport, from source: Source, logger: Logger
    ) async throws(ImageError) -> RootfsVersion where Source.Element == [UInt8] {
        let received = try await RootfsReceiver(blobs: blobs).take(request, from: source, logger: logger)
        let version = received.version(request, at: Timestamp(nanoseconds: now()))
        return try await changes.run(cancelled: .cancelled) { () throws(ImageError) in
            // Binaries of before know no owner of its layer, and would collect that.
            try await ImageError.ofStore(await OtherContent.announce(in: records.store))
            // A stored version does not change; importing it again replaces a damaged record.
            let stored = try await records.update(
                try Self.key(version), as: RootfsVersion.self, replacingDamaged: true
            ) { $0 == nil ? .write(version) : .keep }
            let kept = stored?.value ?? version
            guard kept.layers == version.layers, kept.source == version.source else {
                throw .rootfsExists(version.stack, version.version, version.architecture)
            }
            try await records.sync()
            keepInMemory(kept)
            return kept
        }
    }

    /// Opens a variant's layer as it is stored.
    /// - Throws: `.notOneLayer`, `.blob`.
    public func open(_ version: RootfsVersion) async throws(ImageError) -> OpenBlob {
        try await version.open(in: blobs)
    }

    /// Removes all variants of a version, durably.
    /// - Throws: `.unknownVersion`.
    public func remove(_ stack: StackName, _ version: VersionName) async throws(ImageError) {
        try await changes.run(cancelled: .cancelled) { () throws(ImageError) in
            let prefix = "\(Self.folder.prefix)\(stack)/\(version)/"
            var keys: [ObjectKey] = []
            try await records.forEach(prefix) { (key) throws(ImageError) in keys.append(key) }
            guard !keys.isEmpty else { throw .unknownVersion(stack, version) }
            for key in keys { try await records.remove(key) }
            try await records.sync()
            variants.withLock { variants in
                variants = variants.filter { $0.key.stack != stack || $0.key.version != version }
            }
        }
    }
}
