public import OCI
public import ObjectStore

/// Content by digest, over an object store.
///
/// Bytes are written once, under a name that is never used again (`data/<id>`); a small record says which digest they
/// are. So a blob can be deleted and uploaded again without a reader ever seeing half of anything. Content of less than
/// 4 KiB, which most manifests and configurations have, is in the record itself: one object instead of two.
public struct BlobStore: Sendable {
    /// How often a compare-and-swap is tried before it is given up.
    static let maximumAttempts = 16

    let store: any ObjectStore
    let now: @Sendable () -> Int64
    /// Knows how much there may be; nil: there is no limit.
    let quotas: QuotaLedger?
    /// For how long content stays that nothing refers to yet, in nanoseconds.
    public let grace: Int64

    /// - Parameters:
    ///   - now: nanoseconds since 1970.
    ///   - grace: for how long after somebody relied on content it stays although nothing refers to it, in nanoseconds:
    ///     the time from a blob's push to that of its manifest.
    ///   - quotas: keeps the store's limit; nil: there is none.
    public init(
        store: any ObjectStore, now: @escaping @Sendable () -> Int64, grace: Int64 = 6 * 3600 * 1_000_000_000,
        quotas: QuotaLedger? = nil
    ) {
        self.quotas = quotas
        self.store = store
        self.now = now
        self.grace = grace
    }

    /// What is known of a digest, or nil if there is no such blob.
    public func find(_ digest: Digest) async throws(BlobError) -> Blob? {
        guard let (record, _) = try await record(of: digest), record.state == .live else { return nil }
        return Blob(digest: digest, size: record.size)
    }

    /// Opens a blob.
    /// - Throws: `.missing`; `.damaged` if the record promises bytes that are not there.
    public func open(_ digest: Digest) async throws(BlobError) -> OpenBlob {
        guard let (record, _) = try await record(of: digest), record.state == .live else { throw .missing(digest) }
        let reader: any ObjectReader
        do { reader = try await open(record, of: digest, in: store) } catch .missing { throw .damaged(digest) } catch {
            throw .store(error)
        }
        guard reader.info.size == record.size else {
            await reader.close()
            throw .damaged(digest)
        }
        return OpenBlob(blob: Blob(digest: digest, size: record.size), reader: reader)
    }

    /// Opens the bytes that a record promises.
    func open(
        _ record: BlobRecord, of digest: Digest, in reading: any ObjectStore
    ) async throws(ObjectStoreError) -> any ObjectReader {
        switch record.content {
        case .object(let id): try await reading.open(try id.key())
        case .inline(let bytes): BytesReader(bytes, at: try BlobRecord.key(digest))
        }
    }

    /// A URL by which a blob's bytes can be read from the store itself.
    /// - Returns: nil if the store gives none, or the blob is so small that no object is its own.
    /// - Throws: `.missing`.
    public func presignedURL(for digest: Digest, lifetime: Duration) async throws(BlobError) -> String? {
        guard let (record, _) = try await record(of: digest), record.state == .live else { throw .missing(digest) }
        guard case .object(let id) = record.content else { return nil }
        do { return try await store.presignedURL(for: try id.key(), lifetime: lifetime) } catch {
            throw .store(error)
        }
    }

    /// Begins writing bytes whose digest is not known yet.
    public func begin(use: ObjectUse = .soon) -> BlobWriter { BlobWriter(store: store, quotas: quotas, use: use) }

    /// Makes finished bytes the blob of a digest. The caller has hashed them. If the blob is there already, its lease
    /// is renewed and the new bytes are dropped. Not durable before the store's next `sync()`.
    @discardableResult
    public func publish(_ staged: StagedBlob, as digest: Digest) async throws(BlobError) -> Blob {
        for _ in 0..<Self.maximumAttempts {
            let found = try await stored(digest)
            var record = BlobRecord(content: staged.content, size: staged.size, lease: now(), state: .live)
            var condition = PutCondition.absent
            var isReused = false
            if let (old, version) = found {
                condition = .version(version)
                // A record that can't be read is written over.
                if let old, old.state == .live, await holds(old) {
                    record.content = old.content
                    isReused = true
                }
            }
            do {
                let key = try BlobRecord.key(digest)
                if !isReused { staged.reservation?.name(key.text) }
                try await store.put(key, record.bytes, if: condition)
            } catch .exists, .changed, .missing {
                continue
            } catch { throw .store(error) }
            if isReused { await staged.discard() } else { staged.reservation?.commit(staged.size) }
            return Blob(digest: digest, size: record.size)
        }
        throw .contended(digest)
    }

    /// Writes a small blob whole, at most `ObjectLimits.smallObject` bytes, unless it is there already. Not durable
    /// before the store's next `sync()`.
    @discardableResult
    public func put(_ bytes: [UInt8], _ algorithm: DigestAlgorithm = .sha256) async throws(BlobError) -> Blob {
        let digest = Digest.of(bytes, algorithm)
        if let (record, _) = try await stored(digest), record != nil, let blob = try await renew(digest) { return blob }
        let staged = try await stage(bytes)
        do throws(BlobError) { return try await publish(staged, as: digest) } catch {
            await staged.discard()
            throw error
        }
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
        } catch { throw .store(error) }
        reservation?.commit(size)
        return StagedBlob(content: .object(id), size: size, store: store, quotas: quotas, reservation: nil)
    }

    /// Renews the lease of a blob that somebody is about to rely on.
    /// - Returns: nil if the blob is not there, or not whole.
    public func renew(_ digest: Digest) async throws(BlobError) -> Blob? {
        for _ in 0..<Self.maximumAttempts {
            guard let (old, version) = try await record(of: digest), old.state == .live, await holds(old) else {
                return nil
            }
            var record = old
            record.lease = max(now(), old.lease)
            do {
                try await store.put(try BlobRecord.key(digest), record.bytes, if: .version(version))
                return Blob(digest: digest, size: record.size)
            } catch .exists, .changed, .missing {
                continue
            } catch { throw .store(error) }
        }
        throw .contended(digest)
    }

    /// Renews a lease that is older than a quarter of the grace period: what is younger is safe anyhow.
    /// - Returns: nil if the blob is not there.
    public func renewIfOld(_ digest: Digest) async throws(BlobError) -> Blob? {
        guard let (record, _) = try await record(of: digest), record.state == .live else { return nil }
        if now() - record.lease < grace / 4 { return Blob(digest: digest, size: record.size) }
        return try await renew(digest)
    }

    /// A small blob whole.
    /// - Throws: `.missing`; `.damaged` if it is larger than `maximum` bytes, or not all there.
    public func read(_ digest: Digest, maximum: Int) async throws(BlobError) -> [UInt8] {
        guard let (record, _) = try await record(of: digest), record.state == .live else { throw .missing(digest) }
        guard record.size <= maximum else { throw .damaged(digest) }
        let id: DataID
        switch record.content {
        case .inline(let bytes): return bytes
        case .object(let object): id = object
        }
        let bytes: [UInt8]
        do { bytes = try await store.get(try id.key()).bytes } catch .missing { throw .damaged(digest) } catch {
            throw .store(error)
        }
        guard bytes.count == record.size else { throw .damaged(digest) }
        return bytes
    }

    func record(
        of digest: Digest, in reading: (any ObjectStore)? = nil
    ) async throws(BlobError) -> (BlobRecord, ObjectVersion)? {
        guard let (record, version) = try await stored(digest, in: reading) else { return nil }
        guard let record else { throw .damaged(digest) }
        return (record, version)
    }

    /// What is stored of a digest, if anything; the record is nil if it can't be read.
    private func stored(
        _ digest: Digest, in reading: (any ObjectStore)? = nil
    ) async throws(BlobError) -> (BlobRecord?, ObjectVersion)? {
        let object: StoredObject
        do { object = try await (reading ?? store).get(try BlobRecord.key(digest)) } catch {
            if case .missing = error { return nil }
            throw .store(error)
        }
        return (try? BlobRecord(parsing: object.bytes, of: digest), object.info.version)
    }

    /// Whether a record's bytes are there in their full length.
    private func holds(_ record: BlobRecord) async -> Bool {
        // A record that holds them was read whole.
        guard case .object(let id) = record.content else { return true }
        guard let key = try? id.key() else { return false }
        return (try? await store.head(key))?.size == record.size
    }
}
