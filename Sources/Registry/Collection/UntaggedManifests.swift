import Blobs
public import OCI
import ObjectStore
import Records

extension Registry {
    /// Takes manifests out of repositories that no tag needs any more: neither tagged, nor part of an index that stays,
    /// nor referring to something that stays, nor pushed or asked for by digest since `cutoff`.
    /// - Parameters:
    ///   - cutoff: nanoseconds since 1970.
    ///   - running: digests that stay whatever else is true.
    ///   - isReserved: repositories that are left alone.
    /// - Returns: how many were taken out, or would be.
    public func retireUntagged(
        before cutoff: Int64, running: Set<Digest>, dryRun: Bool, isReserved: @Sendable (RepositoryName) -> Bool
    ) async throws(RegistryError) -> Int {
        var count = 0
        var after: String?
        while true {
            let page = try await records.list(RepositoryKeys.catalog, after: after, limit: 1000)
            for key in page {
                let marker = String(key.text.dropFirst(RepositoryKeys.catalog.count))
                guard let name = RepositoryKeys.repository(of: marker), !isReserved(name) else { continue }
                count += try await retireUntagged(of: name, before: cutoff, running, dryRun)
            }
            guard let last = page.last else { break }
            after = last.text
        }
        if !dryRun, count > 0 { try await records.sync() }
        return count
    }

    private func retireUntagged(
        of name: RepositoryName, before cutoff: Int64, _ running: Set<Digest>, _ dryRun: Bool
    ) async throws(RegistryError) -> Int {
        let keys = RepositoryKeys(name: name)
        var manifests: [Digest: StoredRecord<ManifestMembership>] = [:]
        try await each(keys.manifests) { (key) throws(RegistryError) in
            guard let membership: StoredRecord<ManifestMembership> = try await records.read(key),
                let digest = digest(ending: key)
            else { return }
            manifests[digest] = membership
        }
        var kept = Set(
            manifests.filter { !$0.value.value.pushed.isOver(before: cutoff) || running.contains($0.key) }.keys)
        // Tags last: one that came meanwhile rewrote its manifest's membership, which is then another version.
        try await each(keys.tags) { (key) throws(RegistryError) in
            if let tag: StoredRecord<TagRecord> = try await records.read(key) { kept.insert(tag.value.digest) }
        }
        try await close(&kept, over: manifests.mapValues(\.value))
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

    private func each(
        _ prefix: String, _ body: (ObjectKey) async throws(RegistryError) -> Void
    ) async throws(RegistryError) {
        var after: String?
        while true {
            let page = try await records.list(prefix, after: after, limit: 1000)
            for key in page { try await body(key) }
            guard page.count == 1000, let last = page.last else { return }
            after = last.text
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
