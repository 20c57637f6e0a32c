import Blobs
import OCI
import ObjectStore
import Records

extension Verifier {
    /// Holds the records of all repositories against each other.
    func verifyRepositories(
        _ repair: Bool, _ report: inout VerificationReport, _ progress: (VerificationReport) -> Void
    ) async throws(RegistryError) {
        let records = registry.records.reading(reading)
        var last: RepositoryName?
        var after: String?
        while true {
            let page = try await records.list("repositories/", after: after, limit: Self.page)
            for key in page {
                if Task.isCancelled { throw .cancelled }
                guard let (name, kind) = Self.split(key) else { continue }
                if name != last {
                    last = name
                    report.repositories += 1
                    try await verifyMarker(name, repair, &report)
                }
                let keys = RepositoryKeys(name: name)
                switch kind {
                case "_manifests": try await verifyManifest(key, keys, repair, &report)
                case "_tags": try await verifyTag(key, keys, repair, &report)
                case "_referrers": try await verifyReferrer(key, keys, repair, &report)
                default: break
                }
            }
            progress(report)
            guard let end = page.last else { return }
            after = end.text
        }
    }

    /// The repository of a key, and what kind of record it is.
    private static func split(_ key: ObjectKey) -> (name: RepositoryName, kind: String)? {
        let parts = key.text.split(separator: "/").dropFirst()
        guard let index = parts.firstIndex(where: { $0.hasPrefix("_") }),
            let name = try? RepositoryName(parsing: parts[..<index].joined(separator: "/"))
        else { return nil }
        return (name, String(parts[index]))
    }

    private func verifyMarker(
        _ name: RepositoryName, _ repair: Bool, _ report: inout VerificationReport
    ) async throws(RegistryError) {
        guard try await !registry.exists(name) else { return }
        report.unlisted += 1
        if repair { try await registry.mark(RepositoryKeys(name: name)) }
    }

    /// Says which damaged blobs a manifest names, and that its subject knows of it.
    private func verifyManifest(
        _ key: ObjectKey, _ keys: RepositoryKeys, _ repair: Bool, _ report: inout VerificationReport
    ) async throws(RegistryError) {
        let records = registry.records
        guard let membership: StoredRecord<ManifestMembership> = try await records.read(key),
            let digest = digest(ending: key)
        else { return }
        let references = report.damages.isEmpty ? [] : Set(try await registry.references(of: digest, membership.value))
        for index in report.damages.indices {
            let damaged = report.damages[index].digest
            guard damaged == digest || references.contains(damaged),
                report.damages[index].users.count < Self.maximumUsers
            else { continue }
            report.damages[index].users.append("\(keys.name)@\(digest)")
        }
        guard let subject = membership.value.subject else { return }
        let link: StoredRecord<ReferrerRecord>? = try await records.read(try keys.referrer(subject, digest))
        guard link?.value.generation != membership.value.generation else { return }
        report.unlinked += 1
        if repair { try await registry.relink(keys, digest, membership.value) }
    }

    private func verifyTag(
        _ key: ObjectKey, _ keys: RepositoryKeys, _ repair: Bool, _ report: inout VerificationReport
    ) async throws(RegistryError) {
        guard let tag: StoredRecord<TagRecord> = try await registry.records.read(key),
            try await registry.membership(keys, tag.value.digest, tag.value.generation) == nil
        else { return }
        report.dangling += 1
        if repair { _ = try await registry.records.remove(key, version: tag.version) }
    }

    private func verifyReferrer(
        _ key: ObjectKey, _ keys: RepositoryKeys, _ repair: Bool, _ report: inout VerificationReport
    ) async throws(RegistryError) {
        guard let record: StoredRecord<ReferrerRecord> = try await registry.records.read(key),
            try await registry.membership(keys, record.value.descriptor.digest, record.value.generation) == nil
        else { return }
        report.dangling += 1
        if repair { _ = try await registry.records.remove(key, version: record.version) }
    }
}

extension Registry {
    /// Writes down again that a manifest refers to its subject.
    func relink(
        _ keys: RepositoryKeys, _ digest: Digest, _ membership: ManifestMembership
    ) async throws(RegistryError) {
        guard let subject = membership.subject,
            let bytes = try? await blobs.read(digest, maximum: ManifestContent.maximumSize),
            let content = try? ManifestContent(bytes, contentType: membership.mediaType)
        else { return }
        let record = ReferrerRecord(
            descriptor: descriptor(of: content, digest, size: bytes.count), generation: membership.generation)
        try await records.write(record, at: try keys.referrer(subject, digest))
    }
}
