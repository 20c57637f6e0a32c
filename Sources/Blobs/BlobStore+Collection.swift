public import OCI
public import ObjectStore
import Records

/// What a collector did with a blob's record.
public enum BlobRetirement: Hashable, Sendable {
    /// Its bytes are given back.
    case retired(bytes: Int64)
    /// There was no record, or the blob was collected before.
    case missing
    /// Its lease was renewed after the cutoff, or its record changed during the attempt.
    case kept
    /// A record that can't be read may refer to it.
    case spared
}

/// The collector's side of the lease protocol. Tests/RegistryTests/Collection/Model models it with the same step names.
extension BlobStore {
    /// Retires a blob that nothing refers to: its record is swapped from live to gone if nobody renewed its lease since
    /// `cutoff`, and only then are its bytes deleted. Two collectors, or a collector and a writer, can't harm each
    /// other: one swap wins, and a new upload of the digest has bytes of its own. The record is deleted last, so that
    /// after a crash the next collection still finds the bytes. A record with inline content is deleted at once, if it
    /// is unchanged.
    /// - Parameters:
    ///   - cutoff: leases older than this have expired: the mark's start minus grace period minus clock skew, in
    ///     nanoseconds since 1970.
    ///   - spared: bytes written up to this time stay, since a record that can't be read may name them; in nanoseconds
    ///     since 1970 by the store's clock.
    ///   - dryRun: whether to return what would happen and change nothing.
    ///   - reading: the store to read the record from; nil: the blob store's own.
    public func retire(
        _ digest: Digest, cutoff: Int64, sparing spared: Int64? = nil, dryRun: Bool,
        in reading: (any ObjectStore)? = nil
    ) async throws(BlobError) -> BlobRetirement {
        guard let stored = try await record(of: digest, in: reading) else { return .missing }
        let record = stored.value
        switch record.state {
        case .live, .quarantined:
            guard record.lease.isOver(before: cutoff) else { return .kept }
            if let spared, await !isYounger(record, than: spared, in: reading ?? store) { return .spared }
            if dryRun { return .retired(bytes: record.size) }
            guard try await remove(record, stored.version, of: digest) else { return .kept }
            return .retired(bytes: record.size)
        case .gone:
            // A crash interrupted an earlier collection, or another collector has not finished with this record.
            if !dryRun {
                try await deleteData(record)
                _ = try await records.remove(try BlobRecord.key(digest), version: stored.version)
            }
            return .missing
        }
    }

    /// Whether a blob's bytes were written after a time. Always false for inline content, whose age is not known, and
    /// for mended blobs: their bytes may be younger than the record that refers to them.
    private func isYounger(_ record: BlobRecord, than time: Int64, in reading: any ObjectStore) async -> Bool {
        guard case .object(let id) = record.content, !record.isMended, let key = try? id.key(),
            let info = try? await reading.head(key)
        else { return false }
        return info.modified > time
    }

    /// - Returns: false if the record was changed meanwhile.
    private func remove(
        _ record: BlobRecord, _ version: ObjectVersion, of digest: Digest
    ) async throws(BlobError) -> Bool {
        let key = try BlobRecord.key(digest)
        let holder: ObjectKey
        switch record.content {
        case .inline:
            holder = key
            guard try await records.remove(key, version: version) else { return false }
        case .object(let id):
            holder = try await BlobError.ofStore(try id.key())
            var gone = record
            gone.state = .gone
            guard let version = try await records.write(gone, at: key, if: .version(version)) else { return false }
            try await deleteData(record)
            _ = try await records.remove(key, version: version)
        }
        quotas?.deleted(holder.text, record.size)
        return true
    }

    private func deleteData(_ record: BlobRecord) async throws(BlobError) {
        guard case .object(let id) = record.content else { return }
        try await BlobError.ofStore(await store.delete(try id.key(), ifVersion: nil))
    }
}
