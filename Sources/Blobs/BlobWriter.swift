public import OCI
public import ObjectStore
import Records
import Synchronization

/// Bytes being written. Exactly one of `finish` and `abort` ends them.
public final class BlobWriter: Sendable {
    private struct State {
        var size: Int64 = 0
        /// Bytes in memory, as long as they are few enough for a record.
        var gathered: [UInt8] = []
        /// Writes the object, once the bytes are too many for a record.
        var writer: (any ObjectWriter)?
    }

    private let id = DataID.random()
    private let use: ObjectUse
    private let store: any ObjectStore
    private let quotas: QuotaLedger?
    private let reservation: QuotaReservation?
    private let state = Mutex(State())

    init(store: any ObjectStore, quotas: QuotaLedger?, use: ObjectUse) {
        self.quotas = quotas
        self.use = use
        self.store = store
        reservation = quotas?.storeReservation()
    }

    /// - Throws: `.overQuota`, `.uncounted` before anything is written.
    public func write(_ bytes: [UInt8]) async throws(BlobError) {
        let (size, writer) = state.withLock { ($0.size, $0.writer) }
        try await reservation?.cover(size + Int64(bytes.count))
        if writer == nil, size + Int64(bytes.count) <= BlobRecord.maximumInline {
            state.withLock { $0.gathered += bytes }
        } else {
            do throws(ObjectStoreError) {
                let writer = if let writer { writer } else { try await open() }
                try await writer.write(bytes)
            } catch { throw .store(error) }
        }
        state.withLock { $0.size += Int64(bytes.count) }
    }

    /// Begins an object with the gathered bytes.
    private func open() async throws(ObjectStoreError) -> any ObjectWriter {
        let writer = try await store.writer(for: try id.key(), use: use)
        let gathered = state.withLock { state in
            state.writer = writer
            defer { state.gathered = [] }
            return state.gathered
        }
        if !gathered.isEmpty { try await writer.write(gathered) }
        return writer
    }

    /// Reserves room for bytes that are to come, or gives back what is reserved beyond them.
    /// - Parameter more: bytes besides those that were written.
    /// - Throws: `.overQuota`, `.uncounted`.
    public func expect(_ more: Int64) async throws(BlobError) {
        guard let reservation else { return }
        let total = state.withLock { $0.size } + more
        reservation.shrink(to: total)
        try await reservation.cover(total)
    }

    /// Closes the open file, if there is one, because no bytes are expected for a while.
    public func rest() async throws(BlobError) {
        let writer = state.withLock { $0.writer }
        if let writer { try await BlobError.ofStore(await writer.rest()) }
    }

    /// Makes the bytes durable, except for few bytes, which become durable together with their record. They are not a
    /// blob until they are published.
    public func finish() async throws(BlobError) -> StagedBlob {
        let (size, gathered, writer) = state.withLock { ($0.size, $0.gathered, $0.writer) }
        guard let writer else {
            return StagedBlob(
                content: .inline(gathered), size: size, store: store, quotas: quotas, reservation: reservation)
        }
        do throws(ObjectStoreError) {
            reservation?.name(try id.key().text)
            _ = try await writer.finish()
        } catch {
            reservation?.end(size, isOutcomeUnknown: error.isOutcomeUnknown)
            throw .store(error)
        }
        reservation?.commit(size)
        return StagedBlob(content: .object(id), size: size, store: store, quotas: quotas, reservation: nil)
    }

    public func abort() async {
        await state.withLock { $0.writer }?.abort()
        reservation?.release()
    }
}

/// Bytes that no digest points to yet. Publish or discard them; publishing takes ownership of them.
public struct StagedBlob: Sendable {
    let content: BlobRecord.Content
    /// In bytes.
    public let size: Int64
    let store: any ObjectStore
    let quotas: QuotaLedger?
    /// For bytes that are held in memory, since they are in the store only once they are published; otherwise nil.
    let reservation: QuotaReservation?

    /// Whether a record names these very bytes, and not another copy of them: an object's name is never used again.
    func isHeld(by record: BlobRecord) -> Bool {
        if case .object = content { record.content == content } else { false }
    }

    /// Opens the bytes for reading.
    public func open() async throws(BlobError) -> any ObjectReader {
        do throws(ObjectStoreError) {
            switch content {
            case .object(let id): return try await store.open(try id.key())
            case .inline(let bytes): return BytesReader(bytes, at: try ObjectKey("blobs"))
            }
        } catch { throw .store(error) }
    }

    /// Reads the bytes again and hashes them.
    public func digest(_ algorithm: DigestAlgorithm) async throws(BlobError) -> Digest {
        let reader = try await open()
        var hasher = DigestHasher(algorithm)
        do throws(ObjectStoreError) {
            let pieces = reader.bytes.makeAsyncIterator()
            while let bytes = try await pieces.next() { bytes.withUnsafeBytes { hasher.update($0) } }
        } catch {
            await reader.close()
            throw .store(error)
        }
        await reader.close()
        return hasher.finish()
    }

    /// Leaves the bytes where they are because a record may name them. They count as used.
    func leave() { reservation?.end(size, isOutcomeUnknown: true) }

    /// Removes the bytes. If that fails they are garbage, which counts as used until collection removes it.
    public func discard() async {
        reservation?.release()
        guard case .object(let id) = content, let key = try? id.key(),
            (try? await store.delete(key, ifVersion: nil)) != nil
        else { return }
        quotas?.deleted(key.text, size)
    }
}

extension BlobStore {
    /// Finishes several writers at once, so that they share one flush, and publishes their bytes in order. On a failure
    /// the bytes that are not published yet are removed, unless a record may name them.
    public func commit(_ written: [(writer: BlobWriter, digest: Digest)]) async throws(BlobError) {
        var staged: [StagedBlob?] = Array(repeating: nil, count: written.count)
        var failure: BlobError?
        await withTaskGroup(of: (Int, Result<StagedBlob, BlobError>).self) { group in
            for (index, item) in written.enumerated() {
                group.addTask {
                    do throws(BlobError) { return (index, .success(try await item.writer.finish())) } catch {
                        return (index, .failure(error))
                    }
                }
            }
            for await (index, result) in group {
                switch result {
                case .success(let blob): staged[index] = blob
                case .failure(let error): failure = error
                }
            }
        }
        for (index, item) in written.enumerated() {
            guard let blob = staged[index] else { continue }
            if failure == nil {
                do throws(BlobError) { try await publish(blob, as: item.digest) } catch { failure = error }
            } else {
                await blob.discard()
            }
        }
        if let failure { throw failure }
    }
}
