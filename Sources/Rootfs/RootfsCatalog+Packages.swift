import JSON
import Layers
import Logging
import OCI
import ObjectStore
public import Packages
import Records
import Runtime
import Synchronization

extension RootfsCatalog {
    /// The packages of a rootfs version.
    /// - Throws: `.unknownStack`, `.unknownVersion`, `.noVariant`; `.noPackages` if they are not recorded; `.damaged`,
    ///   `.store`.
    public func packages(
        _ stack: StackName, _ version: VersionName, _ architecture: Architecture
    ) async throws(ImageError) -> PackageList {
        let variant = try self.version(stack, version, architecture)
        guard let list = try await packageList(of: variant) else { throw .noPackages(stack, version, architecture) }
        return list
    }

    /// How a stack's packages differ between two versions.
    /// - Throws: as `packages`.
    public func packageChanges(
        _ stack: StackName, from old: VersionName, to new: VersionName, _ architecture: Architecture
    ) async throws(ImageError) -> PackageDiff {
        PackageDiff(
            from: try await packages(stack, old, architecture), to: try await packages(stack, new, architecture))
    }

    /// The packages of a version; nil if they are not recorded. They are read on demand and cached.
    public func packageList(of version: RootfsVersion) async throws(ImageError) -> PackageList? {
        if let list = packageLists.value(version) { return list }
        return try await packageReading.value(for: version) { () throws(ImageError) in
            let mark = packageLists.mark
            guard let stored = try await storedPackages(version), stored.source == version.source else { return nil }
            packageLists.insert(stored.list, for: version, cost: stored.list.cost, since: mark)
            return stored.list
        }
    }

    /// How often a package list was added or removed, so that documents derived from the lists are made again.
    package var packageChanges: Int { state.withLock { $0.packageChanges } }

    /// Stores a package list, unless there is one of the same file. To be called before the version's record is
    /// written. Not durable before `sync()`. The caller holds `changes`.
    func keepPackages(_ list: PackageList, of version: RootfsVersion) async throws(ImageError) {
        let kept = try? self.version(version.stack, version.version, version.architecture)
        // The name is taken by a version of another file, so this import is going to fail.
        guard kept == nil || kept?.source == version.source else { return }
        let record = StoredPackageList(list: list, source: version.source)
        var isWritten = false
        // A list does not change, unless it is damaged or a failed import of another file left it.
        try await records.update(try packageKey(version), as: StoredPackageList.self, replacingDamaged: true) { found in
            isWritten = found?.value.source != version.source
            return isWritten ? .write(record) : .keep
        }
        guard isWritten else { return }
        packageLists.remove(version)
        state.withLock { $0.packageChanges += 1 }
    }

    /// The stored list; nil if there is none or it can't be read, since another import of the file writes it again.
    private func storedPackages(_ version: RootfsVersion) async throws(ImageError) -> StoredPackageList? {
        try await records.readable(try packageKey(version), as: StoredPackageList.self)?.value
    }

    private func packageKey(_ version: RootfsVersion) throws(ImageError) -> ObjectKey {
        do { return try StoredPackageList.key(version) } catch { throw .store(error) }
    }
}

/// A version's package list: `rootfs/<stack>/<version>/packages/<architecture>`. Written at import; versions that
/// earlier versions of Cistern imported have none.
struct StoredPackageList: JSONRecord {
    let list: PackageList
    /// The digest of the imported file: a list whose source differs from its version's belongs to another file.
    let source: Digest

    /// A folder's name that differs from every architecture's.
    static let folder = "packages"

    static func key(_ version: RootfsVersion) throws(ObjectStoreError) -> ObjectKey {
        try ObjectKey(
            RootfsVersion.folder(version.stack, version.version) + "\(folder)/\(version.architecture.rawValue)")
    }

    init(list: PackageList, source: Digest) {
        self.list = list
        self.source = source
    }

    init?(_ json: JSONValue, at key: ObjectKey) {
        guard let list = PackageList(json: json),
            let source = json["source"]?.string.flatMap({ try? Digest(parsing: $0) })
        else { return nil }
        self.init(list: list, source: source)
    }

    var json: JSONValue {
        .object(list.members.merging(["source": .string(source.description)]) { own, _ in own })
    }
}

extension PackageList {
    func log(to logger: Logger, stack: StackName, version: VersionName) {
        guard skipped > 0 || !isComplete else { return }
        logger.warning(
            "the package list has gaps",
            metadata: [
                "stack": "\(stack)", "version": "\(version)", "packages": "\(packages.count)",
                "skipped": "\(skipped)", "complete": "\(isComplete)",
            ])
    }
}

extension RootfsFindings {
    /// The files' bytes; nil for a file that is too large.
    var contents: [String: [UInt8]?] {
        files.mapValues { file in if case .bytes(let bytes) = file { bytes } else { nil } }
    }
}
