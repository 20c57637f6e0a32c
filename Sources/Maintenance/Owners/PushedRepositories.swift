import Blobs
import OCI
import ObjectStore
package import Records
package import Registry

/// Repositories that clients push to, including what they push beside derived images.
package struct PushedRepositories: ContentOwner {
    static let page = 1000
    /// How many repositories' manifests are read at the same time.
    private static let repositories = 8
    /// How many repositories' references are in memory at the same time.
    private static let portion = 128
    /// Large, since each page of the catalog reads the whole directory.
    private static let catalogPage = 8192

    let registry: Registry

    package init(registry: Registry) { self.registry = registry }

    package var records: [RecordFolder] {
        [RecordFolder(RepositoryKeys.catalog, [RecordKind("marker", CatalogMarker.self)])]
    }

    /// Marks what repositories have. References of repositories that have not changed since the last collection come
    /// from its index; a new index is written for the next one.
    package func roots(_ mark: inout RootMark) async throws {
        let indexes = try await ReferenceIndex.list(.repositories, in: mark.reading)
        var new =
            mark.isDryRun
            ? nil : try await ReferenceIndexUpdate(.repositories, replacing: indexes, in: registry.records.store)
        var old = await ReferenceIndexReader(indexes.first, in: mark.reading)
        do {
            var after: String?
            while true {
                let page = try await mark.reading.list(
                    prefix: RepositoryKeys.catalog, startAfter: after, limit: Self.catalogPage)
                for start in stride(from: 0, to: page.count, by: Self.portion) {
                    try Task.checkCancellation()
                    let portion = Array(page[start..<min(start + Self.portion, page.count)])
                    try await roots(of: portion, &mark, &old, &new)
                    try await roots(ofUnlisted: old.takePassed(), &mark)
                    mark.advance()
                }
                guard page.count == Self.catalogPage, let last = page.last else { break }
                after = last.key.text
            }
            while await old.passPage() { try await roots(ofUnlisted: old.takePassed(), &mark) }
        } catch {
            await old.close()
            await new?.abort()
            throw error
        }
        await old.close()
        try await new?.finish()
    }

    /// Marks what the repositories of these markers have.
    private func roots(
        of markers: [ObjectInfo], _ mark: inout RootMark, _ old: inout ReferenceIndexReader,
        _ new: inout ReferenceIndexUpdate?
    ) async throws {
        var known: [ReadReferences?] = []
        var unknown: [(place: Int, marker: ObjectInfo)] = []
        for marker in markers {
            let name = String(marker.key.text.dropFirst(RepositoryKeys.catalog.count))
            let entry = await old.entry(of: name, marker.version)
            if entry == nil { unknown.append((known.count, marker)) }
            known.append(entry.map { ReadReferences(references: $0, isSettled: true) })
        }
        let (reading, cutoff) = (mark.reading, mark.cutoff)
        for result in await inParallel(unknown, Self.repositories, { await read($0, cutoff, reading) }) {
            for (place, references) in try result.get() { known[place] = references }
        }
        mark.report.repositories += markers.count
        mark.report.repositoriesRead += unknown.count
        for case .some(let read) in known {
            mark.insert(keys: read.references.keys)
            if read.isSettled { try await new?.append(read.references) }
        }
        if !unknown.isEmpty { new?.hasChanged = true }
    }

    /// Marks what repositories have whose markers have gone since the last collection though they still have manifests,
    /// and lists them again: without its marker a repository would lose all its content.
    private func roots(ofUnlisted markers: [String], _ mark: inout RootMark) async throws {
        for marker in markers {
            guard let name = RepositoryKeys.repository(of: marker) else { continue }
            let keys = RepositoryKeys(name: name)
            let (found, _) = try await references(of: keys, mark.reading)
            if found.isEmpty { continue }
            mark.insert(keys: found)
            mark.report.repositories += 1
            mark.report.repositoriesRead += 1
            if !mark.isDryRun { try await registry.mark(keys) }
        }
    }

    private func read(
        _ markers: [(place: Int, marker: ObjectInfo)], _ cutoff: Int64, _ reading: any ObjectStore
    ) async -> Result<[(place: Int, references: ReadReferences)], RegistryError> {
        do throws(RegistryError) {
            var all: [(place: Int, references: ReadReferences)] = []
            for (place, marker) in markers {
                if let references = try await read(marker, cutoff, reading) { all.append((place, references)) }
            }
            return .success(all)
        } catch { return .failure(error) }
    }

    /// Reads the digests of a repository's manifests and all that these name.
    /// - Parameter marker: the marker before the manifests are read.
    /// - Returns: nil if the marker stands for no valid repository name.
    private func read(
        _ marker: ObjectInfo, _ cutoff: Int64, _ reading: any ObjectStore
    ) async throws(RegistryError) -> ReadReferences? {
        let text = String(marker.key.text.dropFirst(RepositoryKeys.catalog.count))
        guard let name = RepositoryKeys.repository(of: text) else { return nil }
        let records = registry.records.reading(reading)
        // A writer that found this version of the marker young enough to rely on it has finished by now.
        var isSettled = false
        if let stored = try await records.readable(marker.key, as: CatalogMarker.self) {
            isSettled = stored.version == marker.version && stored.value.changed.isOver(before: cutoff)
        }
        let (found, areWhole) = try await references(of: RepositoryKeys(name: name), reading)
        return ReadReferences(
            references: IndexedReferences(marker: text, version: marker.version, keys: found),
            isSettled: isSettled && areWhole)
    }

    /// The digests of a repository's manifests and of all that these name.
    /// - Returns: the digests' keys, and whether all manifests could be read.
    private func references(
        of keys: RepositoryKeys, _ reading: any ObjectStore
    ) async throws(RegistryError) -> (found: [UInt64], areWhole: Bool) {
        let records = registry.records.reading(reading)
        var (found, areWhole): ([UInt64], Bool) = ([], true)
        for algorithm in try await components(below: keys.manifests, after: nil, in: reading) {
            guard let algorithm = DigestAlgorithm(rawValue: algorithm) else { continue }
            var after: String?
            while true {
                if Task.isCancelled { throw .cancelled }
                let page = try await components(
                    below: "\(keys.manifests)\(algorithm.rawValue)/", after: after, in: reading)
                for hex in page {
                    guard let digest = try? Digest(algorithm, hex: hex) else { continue }
                    let key = try keys.manifest(digest)
                    let membership = try await records.find(key, as: ManifestMembership.self)
                    // The manifest was deleted after the listing.
                    guard membership.isThere else { continue }
                    let references: [Digest]
                    if let membership = membership.readable?.value,
                        let named = try await readableReferences(of: digest, membership)
                    {
                        references = named
                        // The manifest itself is missing, since it names more than its membership can list. It may be
                        // pushed again.
                        if membership.references == nil, references.isEmpty { areWhole = false }
                    } else {
                        references = try await registry.possibleReferences(of: digest, keys, in: records)
                        areWhole = false
                    }
                    found.append(DigestSet.key(digest))
                    for reference in references { found.append(DigestSet.key(reference)) }
                }
                guard page.count == Self.page else { break }
                after = page.last
            }
        }
        return (found, areWhole)
    }

    /// - Returns: nil if the manifest has to be read and can't be.
    private func readableReferences(
        of digest: Digest, _ membership: ManifestMembership
    ) async throws(RegistryError) -> [Digest]? {
        do { return try await registry.references(of: digest, membership) } catch {
            switch error {
            case .blob(.damaged(_)), .blob(.missing(_)), .invalidManifest(_): return nil
            default: throw error
            }
        }
    }

    /// Lists names only, because the metadata of each object would cost more than the listing.
    private func components(
        below prefix: String, after: String?, in reading: any ObjectStore
    ) async throws(RegistryError) -> [String] {
        do { return try await reading.listComponents(below: prefix, startAfter: after, limit: Self.page) } catch {
            throw .store(error)
        }
    }
}

/// The references of one repository.
private struct ReadReferences {
    let references: IndexedReferences
    /// Whether every later change renews the marker first, so that the references may go into the index.
    let isSettled: Bool
}
