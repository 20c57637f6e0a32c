public import OCI
public import ObjectStore
import Synchronization

/// Bytes being written. Exactly one of `finish` and `abort` ends them.
public final class BlobWriter: Sendable {
    private let id: DataID
    private let writer: any ObjectWriter
    private let store: any ObjectStore
    private let quotas: QuotaBook?
    private let reservation: QuotaReservation?
    private let written = Mutex<Int64>(0)

    init(id: DataID, writer: any ObjectWriter, store: any ObjectStore, quotas: QuotaBook?) {
        self.quotas = quotas
        reservation = quotas?.reservation(forData: id.text)
        self.id = id
        self.writer = writer
        self.store = store
    }

    /// - Throws: `.overQuota`, `.uncounted` before anything is written.
    public func write(_ bytes: [UInt8]) async throws(BlobError) {
        if let reservation { try await reservation.cover(written.withLock { $0 } + Int64(bytes.count)) }
        do { try await writer.write(bytes) } catch { throw .store(error) }
        written.withLock { $0 += Int64(bytes.count) }
    }

    /// Sees to it that there is room for bytes that are to come, or gives it back.
    /// - Parameter more: besides those that were written.
    /// - Throws: `.overQuota`, `.uncounted`.
    public func expect(_ more: Int64) async throws(BlobError) {
        guard let reservation else { return }
        let total = written.withLock { $0 } + more
        reservation.shrink(to: total)
        try await reservation.cover(total)
    }

    /// Makes the bytes durable. They are no blob before they are published.
    public func finish() async throws(BlobError) -> StagedBlob {
        let size = written.withLock { $0 }
        do { _ = try await writer.finish() } catch {
            reservation?.release()
            throw .store(error)
        }
        reservation?.commit(size)
        return StagedBlob(id: id, size: size, store: store, quotas: quotas)
    }

    public func abort() async {
        await writer.abort()
        reservation?.release()
    }
}

/// Durable bytes that no digest points to yet. Publish or discard them.
public struct StagedBlob: Sendable {
    let id: DataID
    /// In bytes.
    public let size: Int64
    let store: any ObjectStore
    let quotas: QuotaBook?

    /// Opens the bytes for reading.
    public func open() async throws(BlobError) -> any ObjectReader {
        do { return try await store.open(try id.key()) } catch { throw .store(error) }
    }

    /// Reads the bytes again and hashes them.
    public func digest(_ algorithm: DigestAlgorithm) async throws(BlobError) -> Digest {
        let reader = try await open()
        var hasher = DigestHasher(algorithm)
        var offset: Int64 = 0
        do throws(ObjectStoreError) {
            while offset < size {
                let bytes = try await reader.read(at: offset, maximum: 1 << 20)
                guard !bytes.isEmpty else { break }
                bytes.withUnsafeBytes { hasher.update($0) }
                offset += Int64(bytes.count)
            }
        } catch {
            await reader.close()
            throw .store(error)
        }
        await reader.close()
        return hasher.finish()
    }

    /// Removes the bytes. A failure leaves garbage, which counts until collection removes it.
    public func discard() async {
        guard let key = try? id.key(), (try? await store.delete(key, ifVersion: nil)) != nil else { return }
        quotas?.deletedData(id.text, size)
    }
}
