import OCI
import ObjectStore
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
    ) async throws(ImageError) -> PackageChanges {
        PackageChanges(
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
    var packageChanges: Int { state.withLock { $0.packageChanges } }

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
