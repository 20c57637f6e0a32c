public import OCI
public import ObjectStore
import Synchronization

/// Bytes being written. Exactly one of `finish` and `abort` ends them.
public final class BlobWriter: Sendable {
    private let id: DataID
    private let writer: any ObjectWriter
    private let store: any ObjectStore
    private let written = Mutex<Int64>(0)

    init(id: DataID, writer: any ObjectWriter, store: any ObjectStore) {
        self.id = id
        self.writer = writer
        self.store = store
    }

    public func write(_ bytes: [UInt8]) async throws(BlobError) {
        do { try await writer.write(bytes) } catch { throw .store(error) }
        written.withLock { $0 += Int64(bytes.count) }
    }

    /// Makes the bytes durable. They are no blob before they are published.
    public func finish() async throws(BlobError) -> StagedBlob {
        do { _ = try await writer.finish() } catch { throw .store(error) }
        return StagedBlob(id: id, size: written.withLock { $0 }, store: store)
    }

    public func abort() async { await writer.abort() }
}

/// Durable bytes that no digest points to yet. Publish or discard them.
public struct StagedBlob: Sendable {
    let id: DataID
    /// In bytes.
    public let size: Int64
    let store: any ObjectStore

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

    /// Removes the bytes. A failure leaves garbage, which collection removes.
    public func discard() async {
        guard let key = try? id.key() else { return }
        try? await store.delete(key, ifVersion: nil)
    }
}
