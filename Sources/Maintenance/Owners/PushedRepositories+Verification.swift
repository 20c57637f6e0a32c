import Blobs
package import OCI
import ObjectStore
import Records
import Registry

extension PushedRepositories {
    /// Checks the records of all repositories against each other.
    package func verify(_ verification: inout VerificationRun) async throws {
        try await verifyMarkers(&verification)
        var last: RepositoryName?
        try await registry.records.reading(verification.reading).forEach("repositories/", page: Self.page) {
            (key) throws(RegistryError) in
            guard let (name, kind) = Self.split(key) else { return }
            let keys = RepositoryKeys(name: name)
            if name != last {
                last = name
                verification.advance()
                verification.report.repositories += 1
                if try await !registry.exists(name) {
                    verification.report.unlisted += 1
                    if verification.repairs { try await registry.mark(keys) }
                }
            }
            switch kind {
            case "_blobs": try await verifyBlob(key, &verification)
            case "_manifests": try await verifyManifest(key, keys, &verification)
            case "_tags":
                try await verify(key, TagRecord.self, "tag", &verification) { (tag) throws(RegistryError) in
                    try await registry.membership(keys, tag.digest, tag.generation) != nil
                }
            case "_referrers":
                try await verify(key, ReferrerRecord.self, "referrer", &verification) {
                    (referrer) throws(RegistryError) in
                    try await registry.membership(keys, referrer.descriptor.digest, referrer.generation) != nil
                }
            default: break
            }
        }
    }

    /// The repository that a key belongs to, and the kind of the record.
    private static func split(_ key: ObjectKey) -> (name: RepositoryName, kind: String)? {
        let parts = key.text.split(separator: "/").dropFirst()
        guard let index = parts.firstIndex(where: { $0.hasPrefix("_") }),
            let name = try? RepositoryName(parsing: parts[..<index].joined(separator: "/"))
        else { return nil }
        return (name, String(parts[index]))
    }

    private func verifyMarkers(_ verification: inout VerificationRun) async throws {
        for (record, _) in try await verification.unreadable(in: records) {
            let marker = String(record.key.text.dropFirst(RepositoryKeys.catalog.count))
            guard verification.repairs, record.fault == .damaged, let name = RepositoryKeys.repository(of: marker)
            else {
                try await verification.setAside(record, "marker")
                continue
            }
            try await registry.mark(RepositoryKeys(name: name))
            verification.note(record, "marker", .mended)
        }
    }

    private func verifyBlob(_ key: ObjectKey, _ verification: inout VerificationRun) async throws(RegistryError) {
        let found = try await registry.records.reading(verification.reading).find(key, as: BlobMembership.self)
        guard case .unreadable(let record) = found else { return }
        guard verification.repairs, record.fault == .damaged, let digest = digest(ending: key),
            let blob = try? await registry.blobs.find(digest),
            try await registry.records.write(
                BlobMembership(size: blob.size), at: key, if: .version(record.version)) != nil
        else { return try await setAside(record, "blob of a repository", &verification) }
        verification.note(record, "blob of a repository", .mended)
    }

    /// Checks a manifest's membership, and that the manifest is listed among its subject's referrers.
    private func verifyManifest(
        _ key: ObjectKey, _ keys: RepositoryKeys, _ verification: inout VerificationRun
    ) async throws(RegistryError) {
        let records = registry.records.reading(verification.reading)
        guard let digest = digest(ending: key) else { return }
        let membership: ManifestMembership
        switch try await records.find(key, as: ManifestMembership.self) {
        case .missing: return
        case .stored(let stored): membership = stored.value
        case .unreadable(let record):
            guard verification.repairs, let mended = try await registry.mend(record, keys, digest) else {
                return try await setAside(record, "manifest of a repository", &verification)
            }
            verification.note(record, "manifest of a repository", .mended)
            membership = mended
        }
        guard let subject = membership.subject else { return }
        let link = try await records.find(try keys.referrer(subject, digest), as: ReferrerRecord.self)
        if case .unreadable(let record) = link, record.fault != .damaged { return }
        guard link.readable?.value.generation != membership.generation else { return }
        verification.report.unlinked += 1
        if verification.repairs { try await registry.relink(keys, digest, membership) }
    }

    /// Checks a record that points to a manifest.
    /// - Parameter pointsToOne: whether that manifest exists.
    private func verify<Value: Record>(
        _ key: ObjectKey, _: Value.Type, _ kind: String, _ verification: inout VerificationRun,
        _ pointsToOne: (Value) async throws(RegistryError) -> Bool
    ) async throws(RegistryError) {
        switch try await registry.records.reading(verification.reading).find(key, as: Value.self) {
        case .missing: return
        case .unreadable(let record): try await setAside(record, kind, &verification)
        case .stored(let stored):
            if try await pointsToOne(stored.value) { return }
            verification.report.dangling += 1
            if verification.repairs { _ = try await registry.records.remove(key, version: stored.version) }
        }
    }

    private func setAside(
        _ record: UnreadableRecord, _ kind: String, _ verification: inout VerificationRun
    ) async throws(RegistryError) {
        do { try await verification.setAside(record, kind) } catch { throw .store(error) }
    }

    /// The manifests that are, or name, some of these digests.
    package func users(of digests: Set<Digest>) async throws -> [ContentUser] {
        var users: [ContentUser] = []
        var counts: [Digest: Int] = [:]
        try await registry.records.forEach("repositories/") { (key) throws(RegistryError) in
            guard let (name, kind) = Self.split(key), kind == "_manifests", let manifest = digest(ending: key),
                let membership = try await registry.records.readable(key, as: ManifestMembership.self)
            else { return }
            // A manifest that can't be read is itself reported as a damaged blob.
            let named = (try? await registry.references(of: manifest, membership.value)) ?? []
            for digest in Set(named + [manifest]).intersection(digests) {
                counts[digest, default: 0] += 1
                if counts[digest, default: 0] <= VerificationRun.maximumUsers {
                    users.append(ContentUser(digest, "\(name)@\(manifest)"))
                }
            }
        }
        return users
    }
}
