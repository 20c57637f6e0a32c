import ObjectStore
import Packages
import Records
import Runtime
import Synchronization

extension RootfsCatalog {
    /// All that is known of a version.
    private struct Removed {
        let variants: [Variant: RootfsVersion]
        let forms: [Variant: LayerPlan]
        let deltas: [RootfsDelta.Key: RootfsDelta]
        let state: VersionState?
    }

    /// Forgets all variants of a version, durably, with its recipes, its state, and the deltas from it and to it.
    ///
    /// Interrupted, it leaves the version, which can be removed again, and never a recipe without one.
    /// - Throws: `.unknownVersion`; `.rootfsInUse` if it is current.
    /// - Parameter forgetRecipes: forgets the version's recipes, durably.
    package func remove(
        _ stack: StackName, _ version: VersionName, forgetRecipes: () async throws(ImageError) -> Void
    ) async throws(ImageError) {
        try await changes.run(cancelled: .cancelled) { () throws(ImageError) in
            guard try await exists(stack, version) else { throw .unknownVersion(stack, version) }
            // One that can't be read says nothing of what is current: nothing goes before something is promoted again.
            guard try await storedHistory(stack)?.current != version else { throw .rootfsInUse(stack, version) }
            let name = Name(stack: stack, version: version)
            let removed = takeOut(name)
            do throws(ImageError) {
                try await forgetRecipes()
                try await delete(removed, name)
            } catch {
                putBack(removed, name)
                throw error
            }
        }
    }

    /// From memory: nobody composes anything of it any more.
    private func takeOut(_ name: Name) -> Removed {
        state.withLock { state in
            func isOwn(_ variant: Variant) -> Bool { variant.stack == name.stack && variant.version == name.version }
            let removed = Removed(
                variants: state.variants.filter { isOwn($0.key) }, forms: state.forms.filter { isOwn($0.key) },
                deltas: state.deltas.filter {
                    $0.key.stack == name.stack && [$0.key.from, $0.key.to].contains(name.version)
                }, state: state.states[name])
            for variant in removed.variants.keys { state.variants[variant] = nil }
            for variant in removed.forms.keys { state.forms[variant] = nil }
            for delta in removed.deltas.keys { state.deltas[delta] = nil }
            state.states[name] = nil
            state.packageChanges += 1
            return removed
        }
    }

    private func putBack(_ removed: Removed, _ name: Name) {
        state.withLock { state in
            state.variants.merge(removed.variants) { $1 }
            state.forms.merge(removed.forms) { $1 }
            state.deltas.merge(removed.deltas) { $1 }
            state.states[name] = removed.state
            state.packageChanges += 1
        }
    }

    /// Whether anything is known of a version, readable or not.
    package func exists(_ stack: StackName, _ version: VersionName) async throws(ImageError) -> Bool {
        if state.withLock({ $0.variants.keys.contains { $0.stack == stack && $0.version == version } }) { return true }
        return try await !records.list(RootfsVersion.folder(stack, version), after: nil, limit: 1).isEmpty
    }

    private func delete(_ removed: Removed, _ name: Name) async throws(ImageError) {
        let stateKey: ObjectKey
        do throws(ObjectStoreError) {
            stateKey = try VersionState.key(name.stack, name.version)
            for delta in removed.deltas.values { try await records.store.delete(try delta.objectKey, ifVersion: nil) }
        } catch { throw .store(error) }
        var keys: [ObjectKey] = []
        try await records.forEach(RootfsVersion.folder(name.stack, name.version)) { (key) throws(ImageError) in
            keys.append(key)
        }
        for key in keys where key != stateKey { try await records.remove(key) }
        // The last: what is left of a blocked version is blocked.
        try await records.remove(stateKey)
        try await records.sync()
    }
}
