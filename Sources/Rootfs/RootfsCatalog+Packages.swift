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

    /// What became of a stack's packages from one version to another.
    /// - Throws: as `packages`.
    public func packageChanges(
        _ stack: StackName, from old: VersionName, to new: VersionName, _ architecture: Architecture
    ) async throws(ImageError) -> PackageDiff {
        PackageDiff(
            from: try await packages(stack, old, architecture), to: try await packages(stack, new, architecture))
    }

    /// The packages of a version; nil if they are not recorded. Read when they are asked for, and kept for a while.
    public func packageList(of version: RootfsVersion) async throws(ImageError) -> PackageList? {
        if let list = packageLists.value(version) { return list }
        return try await packageReading.value(for: version) { () throws(ImageError) in
            let mark = packageLists.mark
            guard let stored = try await storedPackages(version), stored.source == version.source else { return nil }
            packageLists.insert(stored.list, for: version, cost: stored.list.cost, since: mark)
            return stored.list
        }
    }

    /// How often a package list came or went: what is derived from them may be other then.
    package var packageChanges: Int { state.withLock { $0.packageChanges } }

    /// Writes a list down before its version's record, unless there is one of the same file. Not durable before
    /// `sync()`. The caller holds `changes`.
    func keepPackages(_ list: PackageList, of version: RootfsVersion) async throws(ImageError) {
        let kept = try? self.version(version.stack, version.version, version.architecture)
        // Another file under a name that is taken: its import fails.
        guard kept == nil || kept?.source == version.source else { return }
        let record = StoredPackageList(list: list, source: version.source)
        var isWritten = false
        // Once written it stays as it is, unless an import that came to nothing left it, or it is damaged.
        try await records.update(try packageKey(version), as: StoredPackageList.self, replacingDamaged: true) { found in
            isWritten = found?.value.source != version.source
            return isWritten ? .write(record) : .keep
        }
        guard isWritten else { return }
        packageLists.remove(version)
        state.withLock { $0.packageChanges += 1 }
    }

    /// One that can't be read is as good as none: another import of the file writes it again.
    private func storedPackages(_ version: RootfsVersion) async throws(ImageError) -> StoredPackageList? {
        try await records.readable(try packageKey(version), as: StoredPackageList.self)?.value
    }

    private func packageKey(_ version: RootfsVersion) throws(ImageError) -> ObjectKey {
        do { return try StoredPackageList.key(version) } catch { throw .store(error) }
    }
}

/// A version's list: `rootfs/<stack>/<version>/packages/<architecture>`. Written at import; versions that earlier Cisterns
/// imported have none.
struct StoredPackageList: JSONRecord {
    let list: PackageList
    /// Of the file that was imported: a list without its version is another file's.
    let source: Digest

    /// What no architecture is called.
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
    /// The files' bytes; nil for what is too large.
    var contents: [String: [UInt8]?] {
        files.mapValues { file in if case .bytes(let bytes) = file { bytes } else { nil } }
    }
}
