public import OCI
public import ObjectStore
import Records

/// What a collector did with a blob's record.
public enum BlobRetirement: Hashable, Sendable {
    /// Its bytes are given back.
    case retired(bytes: Int64)
    /// There was none, or it was collected before.
    case missing
    /// Somebody relied on it of late, or does now.
    case kept
    /// A record that can't be read may name it.
    case spared
}

/// The collector's side of the lease protocol (Tests/RegistryTests/Collection/Model has it as a model; its steps bear these names).
extension BlobStore {
    /// Retires a blob that nothing refers to: its record is swapped from live to gone if nobody renewed its lease since
    /// `cutoff`, and only then are its bytes deleted. Two collectors, or a collector and a writer, can't hurt each other:
    /// one swap wins, and a new upload of the digest has bytes of its own. The record goes last: a crash before that
    /// leaves it, and so the next collection finds the bytes. A record that holds its content is just deleted, if nobody
    /// changed it meanwhile.
    /// - Parameters:
    ///   - cutoff: the time before which a lease counts for nothing: the mark's start less the grace period and what
    ///     clocks may differ by, in nanoseconds since 1970.
    ///   - spared: bytes that were written up to that time stay, since a record that can't be read may name them: by the
    ///     store's clock, in nanoseconds since 1970.
    ///   - dryRun: says what would happen and changes nothing.
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

    /// Whether a blob's bytes were written after a time. Nobody knows it of those that a record holds; and bytes that took
    /// the place of damaged ones are younger than what names them, so what was mended is taken for old.
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
