package import Bits
package import Blobs
package import OCI
package import ObjectStore
package import Records

/// Packages, buildpacks and build caches: the bytes that were uploaded, also those that are not looked into yet.
package struct AppBits: ContentOwner {
    let bits: BitsCatalog

    package init(bits: BitsCatalog) { self.bits = bits }

    package var records: [RecordFolder] { BitsCatalog.folders }

    package func roots(_ mark: inout RootMark) async throws {
        let reading = mark.reading
        var found: [Digest] = []
        try await bits.forEachPage(in: reading) { page in found += page.map(\.digest) }
        for job in try await bits.jobs(in: reading) { found += job.digests }
        mark.insert(found)
        try await bits.stash.forEachBlob(in: reading) { files in mark.insert(files.map(\.digest)) }
    }

    package func usage(_ count: QuotaCount, in reading: any ObjectStore) async throws {
        try await bits.countUsage(count, in: reading)
    }

    /// Removes packages, build caches and files of the stash that nobody used for a while. Buildpacks stay: nobody
    /// uploads them again by himself.
    package func retire(_ retirement: inout Retirement) async throws {
        let isDryRun = retirement.isDryRun
        for (kind, lifetime) in [
            (BitsKind.packages, retirement.policy.packages), (.caches, retirement.policy.caches),
        ] {
            guard let lifetime else { continue }
            retirement.report.bits += try await bits.retire(
                kind, unusedFor: lifetime, isDryRun: isDryRun, in: bits.store)
        }
        retirement.report.bits += try await bits.stash.retire(isDryRun: isDryRun, in: bits.store)
    }

    package func users(of digests: Set<Digest>) async throws -> [ContentUser] {
        var users: [ContentUser] = []
        try await bits.forEachPage(in: bits.store) { page in
            users += page.filter { digests.contains($0.digest) }.map { ContentUser($0.digest, "\($0.name)") }
        }
        return users
    }
}
