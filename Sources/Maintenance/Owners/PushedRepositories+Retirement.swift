import Blobs
import Images
import OCI
import ObjectStore
import Records
import Registry

extension PushedRepositories {
    /// Removes manifests that nothing needs. A manifest stays if it is tagged, is part of an index that stays, refers
    /// to a manifest that stays, was pushed or requested by digest within the policy's time, or runs. Referrers of
    /// derived images, in the reserved repositories, always stay.
    package func retire(_ retirement: inout Retirement) async throws {
        // If a cluster's report can't be read it is unknown what runs there, so nothing is removed.
        guard let age = retirement.policy.untagged, retirement.isRunningKnown else { return }
        // An index is pushed after its images, so these stay at least for the grace period, like all content of
        // unfinished pushes.
        let cutoff = registry.now() - max(age, registry.blobs.grace)
        try await registry.records.forEach(RepositoryKeys.catalog) { (key) throws(RegistryError) in
            let marker = String(key.text.dropFirst(RepositoryKeys.catalog.count))
            guard let name = RepositoryKeys.repository(of: marker), !name.isReserved else { return }
            retirement.report.manifests += try await retireUntagged(
                of: name, before: cutoff, retirement.running.digests, retirement.isDryRun)
        }
        if !retirement.isDryRun, retirement.report.manifests > 0 { try await registry.records.sync() }
    }

    /// Removes a repository's untagged manifests. If a tag or a membership can't be read nothing is removed, since it
    /// is unknown what that record needs.
    /// - Returns: how many manifests were removed, or would be.
    private func retireUntagged(
        of name: RepositoryName, before cutoff: Int64, _ running: Set<Digest>, _ dryRun: Bool
    ) async throws(RegistryError) -> Int {
        let records = registry.records
        let keys = RepositoryKeys(name: name)
        var manifests: [Digest: StoredRecord<ManifestMembership>] = [:]
        var isReadable = true
        try await records.forEach(keys.manifests) { (key) throws(RegistryError) in
            guard let digest = digest(ending: key) else { return }
            switch try await records.find(key, as: ManifestMembership.self) {
            case .missing: return
            case .stored(let membership): manifests[digest] = membership
            case .unreadable: isReadable = false
            }
        }
        var kept = Set(
            manifests.filter { !$0.value.value.pushed.isOver(before: cutoff) || running.contains($0.key) }.keys)
        // Tags are read last: a push of a tag in between has rewritten its manifest's membership, so that the removal
        // below fails.
        try await records.forEach(keys.tags) { (key) throws(RegistryError) in
            switch try await records.find(key, as: TagRecord.self) {
            case .missing: return
            case .stored(let tag): kept.insert(tag.value.digest)
            case .unreadable: isReadable = false
            }
        }
        guard isReadable else { return 0 }
        do { try await close(&kept, over: manifests.mapValues(\.value)) } catch {
            // The parts of a kept manifest are unknown, and may be any of the others, so nothing is removed.
            guard case .blob(.damaged(_)) = error else { throw error }
            return 0
        }
        var count = 0
        let untagged = manifests.filter { !kept.contains($0.key) }
        if !dryRun, !untagged.isEmpty { try await registry.renewMarker(keys) }
        for (digest, membership) in untagged {
            count += 1
            if dryRun { continue }
            guard try await records.remove(try keys.manifest(digest), version: membership.version) else {
                count -= 1
                continue
            }
            if let subject = membership.value.subject {
                try await registry.removeReferrer(digest, of: subject, membership.value.generation, keys)
            }
        }
        return count
    }

    /// Adds the manifests that kept manifests name, and those that refer to kept manifests, until no more are found.
    private func close(
        _ kept: inout Set<Digest>, over manifests: [Digest: ManifestMembership]
    ) async throws(RegistryError) {
        var referrers: [Digest: [Digest]] = [:]
        for (digest, manifest) in manifests {
            if let subject = manifest.subject { referrers[subject, default: []].append(digest) }
        }
        var unseen = Array(kept)
        while let digest = unseen.popLast() {
            var named: [Digest] = []
            if let manifest = manifests[digest] { named = try await registry.references(of: digest, manifest) }
            for next in named + (referrers[digest] ?? [])
            where manifests[next] != nil && kept.insert(next).inserted {
                unseen.append(next)
            }
        }
    }
}
