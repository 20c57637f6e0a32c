import JSON
import Layers
import Logging
import OCI
import ObjectStore
public import Packages
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
        let stored: (list: PackageList, source: Digest)?
        do { stored = try await storedPackages(version) } catch .damaged { stored = nil } catch { throw error }
        // Once written it stays as it is, unless an import that came to nothing left it.
        guard stored?.source != version.source else { return }
        do {
            try await store.put(
                try PackageList.key(version), list.bytes(source: version.source), if: .always)
        } catch { throw .store(error) }
        packageLists.remove(version)
        state.withLock { $0.packageChanges += 1 }
    }

    private func storedPackages(
        _ version: RootfsVersion
    ) async throws(ImageError) -> (list: PackageList, source: Digest)? {
        let key: ObjectKey
        let object: StoredObject
        do {
            key = try PackageList.key(version)
            object = try await store.get(key)
        } catch .missing { return nil } catch { throw .store(error) }
        return try PackageList.parse(object.bytes, at: key)
    }
}

// A version's list: `rootfs/<stack>/<version>/packages/<architecture>`. Written at import; versions that earlier Cisterns
// imported have none.
extension PackageList {
    /// What no architecture is called.
    private static let folder = "packages"

    static func key(_ version: RootfsVersion) throws(ObjectStoreError) -> ObjectKey {
        try ObjectKey(
            RootfsVersion.folder(version.stack, version.version) + "\(folder)/\(version.architecture.rawValue)")
    }

    static func isKey(_ key: ObjectKey) -> Bool {
        let parts = key.text.split(separator: "/")
        return parts.count == 5 && parts[3] == folder
    }

    /// - Parameter source: of the file that was imported: a list without its version is another file's.
    func bytes(source: Digest) -> [UInt8] {
        JSONValue.object(members.merging(["source": .string(source.description)]) { own, _ in own }).canonicalBytes
    }

    /// - Returns: the list, and the file that it is of.
    static func parse(_ bytes: [UInt8], at key: ObjectKey) throws(ImageError) -> (list: PackageList, source: Digest) {
        guard let json = try? JSONValue(parsing: bytes), let list = PackageList(json: json),
            let source = json["source"]?.string.flatMap({ try? Digest(parsing: $0) })
        else { throw .damaged(key) }
        return (list, source)
    }

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
