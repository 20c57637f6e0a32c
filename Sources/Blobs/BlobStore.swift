public import OCI
public import ObjectStore
public import Records

/// Stored content: its digest and its size in bytes.
public struct Blob: Hashable, Sendable {
    public let digest: Digest
    public let size: Int64
}

/// A blob opened for reading. Close the reader when done.
public struct OpenBlob: Sendable {
    public let blob: Blob
    public let reader: any ObjectReader
}

/// Content by digest, over an object store.
///
/// Bytes are written once, under a name that is never used again (`data/<id>`); a small record maps the digest to that
/// name. So a blob can be deleted and uploaded again without a reader ever seeing a mixture. Small content
/// (`BlobRecord.maximumInline`), as of most manifests and configurations, is in the record: one object instead of two.
public struct BlobStore: Sendable {
    let records: RecordStore<BlobError>
    package let now: @Sendable () -> Int64
    /// Keeps the store's limit and the quotas; nil: there is no limit.
    let quotas: QuotaLedger?
    private let checks = ContentChecks()
    /// How long content stays that nothing refers to yet, in nanoseconds.
    public let grace: Int64

    /// - Parameters:
    ///   - now: nanoseconds since 1970.
    ///   - grace: how long content stays after its last use although nothing refers to it, in nanoseconds. It must
    ///     cover the time from a blob's push to that of its manifest.
    ///   - quotas: keeps the store's limit; nil: there is none.
    ///   - unreadable: collects the records that can't be read.
    public init(
        store: any ObjectStore, now: @escaping @Sendable () -> Int64, grace: Int64 = 6 * 3600 * 1_000_000_000,
        quotas: QuotaLedger? = nil, unreadable: UnreadableRecords = UnreadableRecords()
    ) {
        self.quotas = quotas
        records = RecordStore(store, unreadable: unreadable)
        self.now = now
        self.grace = grace
    }

    package var store: any ObjectStore { records.store }
    package var unreadable: UnreadableRecords { records.unreadable }

    /// The digest and size of a blob, or nil if there is no such blob.
    public func find(_ digest: Digest) async throws(BlobError) -> Blob? {
        guard let record = try await record(of: digest)?.value, record.state == .live else { return nil }
        return Blob(digest: digest, size: record.size)
    }

    /// Opens a blob. Bytes that are not known to be whole since the start are hashed before; if they are not, the blob is
    /// quarantined.
    /// - Parameter isRead: whether the bytes will be read; if not, they are not hashed.
    /// - Throws: `.missing`; `.damaged` if the bytes are not there or not those of the digest.
    public func open(_ digest: Digest, isRead: Bool = true) async throws(BlobError) -> OpenBlob {
        let record = try await liveRecord(of: digest)
        let reader: any ObjectReader
        do { reader = try await open(record, of: digest, in: store) } catch .missing { throw .damaged(digest) } catch {
            throw .store(error)
        }
        guard reader.info.size == record.size else {
            await reader.close()
            throw .damaged(digest)
        }
        do throws(BlobError) {
            if isRead { try await check(record, reader, digest) }
        } catch {
            await reader.close()
            throw error
        }
        return OpenBlob(blob: Blob(digest: digest, size: record.size), reader: reader)
    }

    private func check(_ record: BlobRecord, _ reader: any ObjectReader, _ digest: Digest) async throws(BlobError) {
        switch record.content {
        case .inline(let bytes): try await check(bytes, record, digest)
        case .object(let id):
            let isWhole = try await checks.isWhole(id) { () throws(BlobError) in
                try await hash(reader, digest.algorithm) { (_) throws(BlobError) in } == digest
            }
            if !isWhole { try await refuse(record, digest) }
        }
    }

    /// Checks bytes that were read from the store.
    private func check(_ bytes: [UInt8], _ record: BlobRecord, _ digest: Digest) async throws(BlobError) {
        let isWhole =
            switch record.content {
            case .inline: digest.matches(bytes)
            case .object(let id): try await checks.isWhole(id) { () throws(BlobError) in digest.matches(bytes) }
            }
        if !isWhole { try await refuse(record, digest) }
    }

    /// - Throws: `.damaged`, always, once the blob is quarantined.
    private func refuse(_ record: BlobRecord, _ digest: Digest) async throws(BlobError) {
        _ = try? await quarantine(digest, with: record.content)
        throw .damaged(digest)
    }

    /// Opens the bytes that a record promises.
    func open(
        _ record: BlobRecord, of digest: Digest, in reading: any ObjectStore
    ) async throws(ObjectStoreError) -> any ObjectReader {
        switch record.content {
        case .object(let id): try await reading.open(try id.key())
        case .inline(let bytes): BytesReader(bytes, at: try ObjectKey("blobs/\(digest.hex)"))
        }
    }

    /// A URL by which a client reads a blob's bytes directly from the store.
    /// - Returns: nil if the store offers no such URLs, or the blob's content is inside its record.
    /// - Throws: `.missing`; `.damaged` if the record can't be read.
    public func presignedURL(for digest: Digest, lifetime: Duration) async throws(BlobError) -> String? {
        let record = try await liveRecord(of: digest)
        guard case .object(let id) = record.content else { return nil }
        return try await BlobError.ofStore(await store.presignedURL(for: try id.key(), lifetime: lifetime))
    }

    /// Begins writing bytes whose digest is not known yet.
    public func begin(use: ObjectUse = .soon) -> BlobWriter { BlobWriter(store: store, quotas: quotas, use: use) }

    /// Makes finished bytes the blob of a digest. The caller has hashed them. If the blob is there already, its lease
    /// is renewed and the new bytes are dropped. Not durable before the store's next `sync()`.
    ///
    /// This function owns the staged bytes from now on: it discards them if it fails, unless the outcome is unknown. A
    /// record may name them in that case, so they stay; verification finds them if no record does.
    @discardableResult
    public func publish(_ staged: StagedBlob, as digest: Digest) async throws(BlobError) -> Blob {
        do throws(BlobError) { return try await name(staged, digest) } catch {
            if error.isOutcomeUnknown { staged.leave() } else { await staged.discard() }
            throw error
        }
    }

    private func name(_ staged: StagedBlob, _ digest: Digest) async throws(BlobError) -> Blob {
        let key = try BlobRecord.key(digest)
        var isReused = false
        // A damaged record is replaced: the bytes to publish are whole.
        let published = try await records.update(key, as: BlobRecord.self, replacingDamaged: true) { (found) in
            var record = BlobRecord(content: staged.content, size: staged.size, lease: Lease(now()), state: .live)
            isReused = false
            if let old = found?.value, old.state == .live, await holds(old) {
                record.content = old.content
                record.isMended = old.isMended
                isReused = !staged.isHeld(by: old)
            } else {
                // If the digest's record can't be read or has lost its bytes, something older than the new bytes may
                // refer to the digest, so the collector must not judge by their age.
                record.isMended = found.map { $0.value.state != .gone } ?? records.unreadable.contains(key)
            }
            if !isReused {
                staged.reservation?.name(key.text)
                if case .object(let id) = staged.content { checks.add(id) }
            }
            return .write(record)
        }
        if isReused { await staged.discard() } else { staged.reservation?.commit(staged.size) }
        return Blob(digest: digest, size: published?.value.size ?? staged.size)
    }

    /// Writes a small blob whole, at most `ObjectLimits.smallObject` bytes, unless it is there already. Not durable
    /// before the store's next `sync()`.
    @discardableResult
    public func put(_ bytes: [UInt8], _ algorithm: DigestAlgorithm = .sha256) async throws(BlobError) -> Blob {
        let digest = Digest.of(bytes, algorithm)
        if let blob = try await renew(digest) { return blob }
        return try await publish(try await stage(bytes), as: digest)
    }

    private func stage(_ bytes: [UInt8]) async throws(BlobError) -> StagedBlob {
        let size = Int64(bytes.count)
        let reservation = quotas?.storeReservation()
        try await reservation?.cover(size)
        guard size > BlobRecord.maximumInline else {
            return StagedBlob(
                content: .inline(bytes), size: size, store: store, quotas: quotas, reservation: reservation)
        }
        let id = DataID.random()
        do throws(ObjectStoreError) {
            let key = try id.key()
            reservation?.name(key.text)
            try await store.put(key, bytes, if: .absent)
        } catch {
            reservation?.end(size, isOutcomeUnknown: error.isOutcomeUnknown)
            throw .store(error)
        }
        reservation?.commit(size)
        return StagedBlob(content: .object(id), size: size, store: store, quotas: quotas, reservation: nil)
    }

    /// Renews the lease of a blob that the caller is about to rely on.
    /// - Returns: nil if the blob is missing or not whole, or if its record can't be read: pushing the blob again
    ///   repairs it.
    public func renew(_ digest: Digest) async throws(BlobError) -> Blob? {
        try await renew(digest, unlessYoungerThan: 0)
    }

    /// Renews a lease that is older than a quarter of the grace period. A younger one protects the blob long enough.
    /// - Returns: as `renew`, but does not check that the bytes are there while the lease is young.
    public func renewIfOld(_ digest: Digest) async throws(BlobError) -> Blob? {
        try await renew(digest, unlessYoungerThan: grace)
    }

    private func renew(_ digest: Digest, unlessYoungerThan grace: Int64) async throws(BlobError) -> Blob? {
        var blob: Blob?
        do {
            try await records.update(try BlobRecord.key(digest), as: BlobRecord.self) { (found) in
                blob = nil
                guard var record = found?.value, record.state == .live else { return .keep }
                let needsRenewal = grace == 0 || record.lease.needsRenewal(at: now(), grace: grace)
                if needsRenewal, await !holds(record) { return .keep }
                blob = Blob(digest: digest, size: record.size)
                guard needsRenewal else { return .keep }
                record.lease = record.lease.renewed(at: now())
                return .write(record)
            }
        } catch .damaged { return nil }
        return blob
    }

    /// Reads a small blob whole.
    /// - Parameter use: whether it is worth a place in the store's cache.
    /// - Throws: `.missing`; `.damaged` if it is larger than `maximum` bytes, or not whole.
    public func read(
        _ digest: Digest, maximum: Int, use: ObjectUse = .soon
    ) async throws(BlobError) -> [UInt8] {
        let reading = use == .rarely ? store.uncached : store
        let record = try await liveRecord(of: digest, in: reading)
        guard record.size <= maximum else { throw .damaged(digest) }
        let id: DataID
        switch record.content {
        case .inline(let bytes):
            try await check(bytes, record, digest)
            return bytes
        case .object(let object): id = object
        }
        let bytes: [UInt8]
        do { bytes = try await reading.get(try id.key()).bytes } catch .missing { throw .damaged(digest) } catch {
            throw .store(error)
        }
        guard bytes.count == record.size else { throw .damaged(digest) }
        try await check(bytes, record, digest)
        return bytes
    }

    /// - Throws: `.damaged` if it can't be read.
    func record(
        of digest: Digest, in reading: (any ObjectStore)? = nil
    ) async throws(BlobError) -> StoredRecord<BlobRecord>? {
        try await records.reading(reading ?? store).read(try BlobRecord.key(digest))
    }

    /// - Throws: `.missing`, `.damaged`.
    private func liveRecord(
        of digest: Digest, in reading: (any ObjectStore)? = nil
    ) async throws(BlobError) -> BlobRecord {
        guard let record = try await record(of: digest, in: reading)?.value, record.state == .live else {
            throw .missing(digest)
        }
        return record
    }

    /// Whether a record's bytes are there in their full length.
    private func holds(_ record: BlobRecord) async -> Bool {
        // Inline bytes were read with their record, which is whole.
        guard case .object(let id) = record.content else { return true }
        guard let key = try? id.key() else { return false }
        return (try? await store.head(key))?.size == record.size
    }
}
