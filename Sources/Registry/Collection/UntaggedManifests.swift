import Blobs
public import OCI
import ObjectStore
import Records

extension Registry {
    /// Takes manifests out of repositories that no tag needs any more: neither tagged, nor part of an index that stays,
    /// nor referring to something that stays, nor pushed or asked for by digest since `cutoff`. Nothing is taken out of a
    /// repository that has a tag or a membership which can't be read: what that needs is not known.
    /// - Parameters:
    ///   - cutoff: nanoseconds since 1970.
    ///   - running: digests that stay whatever else is true.
    ///   - isReserved: repositories that are left alone.
    /// - Returns: how many were taken out, or would be.
    public func retireUntagged(
        before cutoff: Int64, running: Set<Digest>, dryRun: Bool, isReserved: @Sendable (RepositoryName) -> Bool
    ) async throws(RegistryError) -> Int {
        var count = 0
        try await records.forEach(RepositoryKeys.catalog) { (key) throws(RegistryError) in
            let marker = String(key.text.dropFirst(RepositoryKeys.catalog.count))
            guard let name = RepositoryKeys.repository(of: marker), !isReserved(name) else { return }
            count += try await retireUntagged(of: name, before: cutoff, running, dryRun)
        }
        if !dryRun, count > 0 { try await records.sync() }
        return count
    }

    private func retireUntagged(
        of name: RepositoryName, before cutoff: Int64, _ running: Set<Digest>, _ dryRun: Bool
    ) async throws(RegistryError) -> Int {
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
        // Tags last: one that came meanwhile rewrote its manifest's membership, which is then another version.
        try await records.forEach(keys.tags) { (key) throws(RegistryError) in
            switch try await records.find(key, as: TagRecord.self) {
            case .missing: return
            case .stored(let tag): kept.insert(tag.value.digest)
            case .unreadable: isReadable = false
            }
        }
        guard isReadable else { return 0 }
        do { try await close(&kept, over: manifests.mapValues(\.value)) } catch {
            // A manifest whose parts are not known: they may be any of the others.
            guard case .blob(.damaged(_)) = error else { throw error }
            return 0
        }
        var count = 0
        let untagged = manifests.filter { !kept.contains($0.key) }
        if !dryRun, !untagged.isEmpty { try await renewMarker(keys) }
        for (digest, membership) in untagged {
            count += 1
            if dryRun { continue }
            guard try await records.remove(try keys.manifest(digest), version: membership.version) else {
                count -= 1
                continue
            }
            if let subject = membership.value.subject {
                try await removeReferrer(digest, of: subject, membership.value.generation, keys)
            }
        }
        return count
    }

    /// Adds what kept manifests name, and what refers to kept manifests, until nothing is added any more.
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
            if let manifest = manifests[digest] { named = try await references(of: digest, manifest) }
            for next in named + (referrers[digest] ?? [])
            where manifests[next] != nil && kept.insert(next).inserted {
                unseen.append(next)
            }
        }
    }

    /// A manifest that somebody asks for by digest, or names in an index, is as good as pushed anew.
    func touch(_ keys: RepositoryKeys, _ digest: Digest) async throws(RegistryError) {
        do {
            try await records.update(try keys.manifest(digest), as: ManifestMembership.self) { found in
                guard var membership = found?.value, membership.pushed.needsRenewal(at: now(), grace: blobs.grace)
                else { return .keep }
                membership.pushed = membership.pushed.renewed(at: now())
                return .write(membership)
            }
        } catch .unreadable {
            // Nothing is retired from a repository that has such a record.
        }
    }
}
