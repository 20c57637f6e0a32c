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
        try await verifyMarkers(repair, &report)
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
                    if try await !registry.exists(name) {
                        report.unlisted += 1
                        if repair { try await registry.mark(RepositoryKeys(name: name)) }
                    }
                }
                let keys = RepositoryKeys(name: name)
                switch kind {
                case "_blobs": try await verifyBlob(key, repair, &report)
                case "_manifests": try await verifyManifest(key, keys, repair, &report)
                case "_tags":
                    try await verify(key, TagRecord.self, "tag", repair, &report) { (tag) throws(RegistryError) in
                        try await registry.membership(keys, tag.digest, tag.generation) != nil
                    }
                case "_referrers":
                    try await verify(key, ReferrerRecord.self, "referrer", repair, &report) {
                        (referrer) throws(RegistryError) in
                        try await registry.membership(keys, referrer.descriptor.digest, referrer.generation) != nil
                    }
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

    private func verifyMarkers(_ repair: Bool, _ report: inout VerificationReport) async throws(RegistryError) {
        var unreadable: [UnreadableRecord] = []
        try await RecordFolder(RepositoryKeys.catalog, [RecordKind("marker", CatalogMarker.self)])
            .check(registry.records.reading(reading)) { (record, _) throws(RegistryError) in unreadable.append(record) }
        for record in unreadable {
            let marker = String(record.key.text.dropFirst(RepositoryKeys.catalog.count))
            guard repair, record.fault == .damaged, let name = RepositoryKeys.repository(of: marker) else {
                try await setAside(record, "marker", repair, &report)
                continue
            }
            try await registry.mark(RepositoryKeys(name: name))
            note(record, "marker", .mended, &report)
        }
    }

    private func verifyBlob(
        _ key: ObjectKey, _ repair: Bool, _ report: inout VerificationReport
    ) async throws(RegistryError) {
        let found = try await registry.records.reading(reading).find(key, as: BlobMembership.self)
        guard case .unreadable(let record) = found else { return }
        guard repair, record.fault == .damaged, let digest = digest(ending: key),
            let blob = try? await blobs.find(digest),
            try await registry.records.write(
                BlobMembership(size: blob.size), at: key, if: .version(record.version)) != nil
        else { return try await setAside(record, "blob of a repository", repair, &report) }
        note(record, "blob of a repository", .mended, &report)
    }

    /// Says which damaged blobs a manifest names, and that its subject knows of it.
    private func verifyManifest(
        _ key: ObjectKey, _ keys: RepositoryKeys, _ repair: Bool, _ report: inout VerificationReport
    ) async throws(RegistryError) {
        let records = registry.records.reading(reading)
        guard let digest = digest(ending: key) else { return }
        let membership: ManifestMembership
        switch try await records.find(key, as: ManifestMembership.self) {
        case .missing: return
        case .stored(let stored): membership = stored.value
        case .unreadable(let record):
            guard repair, let mended = try await registry.mend(record, keys, digest) else {
                return try await setAside(record, "manifest of a repository", repair, &report)
            }
            note(record, "manifest of a repository", .mended, &report)
            membership = mended
        }
        // A manifest that can't be read is among the damaged blobs itself.
        let named = report.damages.isEmpty ? [] : (try? await registry.references(of: digest, membership)) ?? []
        let references = Set(named)
        for index in report.damages.indices {
            let damaged = report.damages[index].digest
            guard damaged == digest || references.contains(damaged),
                report.damages[index].users.count < Self.maximumUsers
            else { continue }
            report.damages[index].users.append("\(keys.name)@\(digest)")
        }
        guard let subject = membership.subject else { return }
        let link = try await records.find(try keys.referrer(subject, digest), as: ReferrerRecord.self)
        if case .unreadable(let record) = link, record.fault != .damaged { return }
        guard link.readable?.value.generation != membership.generation else { return }
        report.unlinked += 1
        if repair { try await registry.relink(keys, digest, membership) }
    }

    /// Looks at a record that points to a manifest.
    /// - Parameter pointsToOne: whether there is that manifest.
    private func verify<Value: Record>(
        _ key: ObjectKey, _: Value.Type, _ kind: String, _ repair: Bool, _ report: inout VerificationReport,
        _ pointsToOne: (Value) async throws(RegistryError) -> Bool
    ) async throws(RegistryError) {
        switch try await registry.records.reading(reading).find(key, as: Value.self) {
        case .missing: return
        case .unreadable(let record): try await setAside(record, kind, repair, &report)
        case .stored(let stored):
            if try await pointsToOne(stored.value) { return }
            report.dangling += 1
            if repair { _ = try await registry.records.remove(key, version: stored.version) }
        }
    }
}

extension Registry {
    /// Writes a manifest's damaged membership again: from the manifest itself, and with the generation that those have who
    /// point to it, if they agree.
    /// - Returns: nil if that can't be read either.
    func mend(
        _ record: UnreadableRecord, _ keys: RepositoryKeys, _ digest: Digest
    ) async throws(RegistryError) -> ManifestMembership? {
        guard record.fault == .damaged,
            let bytes = try? await blobs.read(digest, maximum: ManifestContent.maximumSize),
            let content = try? ManifestContent(bytes, contentType: nil)
        else { return nil }
        var generations: Set<String> = []
        try await records.forEach(keys.tags) { (key) throws(RegistryError) in
            guard let tag = try await records.readable(key, as: TagRecord.self)?.value, tag.digest == digest else {
                return
            }
            generations.insert(tag.generation)
        }
        let generation = generations.count == 1 ? generations.first : nil
        let membership = ManifestMembership(
            mediaType: content.mediaType, size: Int64(bytes.count), generation: generation ?? Self.newGeneration(),
            subject: content.subject, pushed: Lease(now()), references: content.references)
        try await renewMarker(keys)
        guard try await records.write(membership, at: record.key, if: .version(record.version)) != nil else {
            return nil
        }
        return membership
    }

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
