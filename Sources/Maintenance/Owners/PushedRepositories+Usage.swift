package import Blobs
import JSON
import OCI
package import ObjectStore
import Records
import Registry

extension PushedRepositories {
    /// Reports to a count what each repository holds: its manifests, those of its blobs that the manifests name, and
    /// blobs pushed within the grace period, which may wait for their manifest. Other blobs don't count, since garbage
    /// collection keeps them only if somebody else refers to them.
    package func usage(_ count: QuotaCount, in reading: any ObjectStore) async throws {
        let records = registry.records.reading(reading)
        var after: String?
        while true {
            count.goOn(.pushed)
            let page = try await records.list(RepositoryKeys.catalog, after: after, limit: 100)
            let names = page.compactMap {
                RepositoryKeys.repository(of: String($0.text.dropFirst(RepositoryKeys.catalog.count)))
            }
            if let last = names.last { count.reached(last, .pushed) }
            for name in names {
                try Task.checkCancellation()
                var named = DigestSet()
                let manifests = try await countManifests(of: name, records, into: &named)
                count.add(name, manifests.clampedAdding(try await countBlobs(of: name, reading, named)))
            }
            guard let last = page.last else { return }
            after = last.text
        }
    }

    /// Sums up the sizes of a repository's manifests, in bytes.
    /// - Parameter named: receives the digests that the manifests name.
    private func countManifests(
        of name: RepositoryName, _ records: RecordStore<RegistryError>, into named: inout DigestSet
    ) async throws(RegistryError) -> Int64 {
        let prefix = RepositoryKeys(name: name).manifests
        var bytes: Int64 = 0
        var after: String?
        while true {
            let page = try await records.list(prefix, after: after, limit: Self.page)
            for key in page {
                // A membership that was deleted meanwhile or can't be read is left out; a verification reports the
                // latter.
                guard let membership: StoredRecord<ManifestMembership> = try await records.readable(key),
                    let digest = digest(ending: key)
                else { continue }
                bytes = bytes.clampedAdding(membership.value.size)
                for reference in (try? await registry.references(of: digest, membership.value)) ?? [] {
                    named.insert(reference)
                }
            }
            guard page.count == Self.page, let last = page.last else { return bytes }
            after = last.text
        }
    }

    private func countBlobs(
        of name: RepositoryName, _ reading: any ObjectStore, _ named: DigestSet
    ) async throws -> Int64 {
        let records = registry.records.reading(reading)
        let prefix = RepositoryKeys(name: name).blobs
        let young = registry.now() - registry.blobs.grace
        var bytes: Int64 = 0
        var after: String?
        while true {
            let page = try await reading.list(prefix: prefix, startAfter: after, limit: Self.page)
            for info in page {
                guard let digest = digest(ending: info.key), named.contains(digest) || info.modified >= young,
                    let membership: StoredRecord<BlobMembership> = try await records.readable(info.key)
                else { continue }
                bytes = bytes.clampedAdding(membership.value.size)
            }
            guard page.count == Self.page, let last = page.last else { return bytes }
            after = last.key.text
        }
    }
}
