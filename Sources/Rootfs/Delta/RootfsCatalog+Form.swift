import ObjectStore
import Records
import Synchronization

extension RootfsCatalog {
    /// What images on a version are made of. With a policy the choice is written down before anybody sees such an image,
    /// so that no tag that is pinned to the version ever changes its form, whatever deltas there are later.
    ///
    /// Where the store takes nothing at the moment, it is the version's own layers, and nothing is written down.
    package func form(of version: RootfsVersion, _ policy: DeltaPolicy?) async throws(ImageError) -> LayerPlan {
        if let form = frozenForm(version) { return form }
        let plain = LayerPlan(rootfs: version.layers)
        guard let policy else { return plain }
        let form = smallForm(of: version, policy) ?? plain
        let key: ObjectKey
        do { key = try LayerPlan.key(version) } catch { throw .store(error) }
        do throws(ImageError) {
            // Somebody else may be first. One that is damaged nobody has seen an image of: its recipe would say the same.
            let stored = try await records.update(key, as: LayerPlan.self, replacingDamaged: true) {
                $0 == nil ? .write(form) : .keep
            }
            try await records.sync()
            let kept = stored?.value ?? form
            remember(kept, version)
            return kept
        } catch {
            switch error {
            case .store(.full), .store(.permission), .store(.io), .store(.unknown): return plain
            default: throw error
            }
        }
    }

    package var allForms: [LayerPlan] { state.withLock { Array($0.forms.values) } }

    /// What nodes have that run the version which was current last, and a delta from it.
    private func smallForm(of version: RootfsVersion, _ policy: DeltaPolicy) -> LayerPlan? {
        let promoted = (history(version.stack)?.promotions ?? []).map(\.version)
        // A version that is promoted is the first one itself.
        for earlier in promoted where earlier != version.version {
            guard let old = try? self.version(version.stack, earlier, version.architecture) else { continue }
            guard let delta = try? delta(version.stack, earlier, version.version, version.architecture) else {
                return nil
            }
            let below = frozenForm(old) ?? LayerPlan(rootfs: old.layers)
            let form = LayerPlan(rootfs: below.rootfs, delta: below.delta + [delta.layer])
            return policy.allows(form.delta, instead: version.layers) ? form : nil
        }
        return nil
    }

    private func frozenForm(_ version: RootfsVersion) -> LayerPlan? { state.withLock { $0.forms[variant(version)] } }

    private func remember(_ form: LayerPlan, _ version: RootfsVersion) {
        state.withLock { $0.forms[variant(version)] = form }
    }

    private func variant(_ version: RootfsVersion) -> Variant {
        Variant(stack: version.stack, version: version.version, architecture: version.architecture)
    }
}
