import Blobs
import OCI
import ObjectStore
import Synchronization

/// Blobs in memory, with a clock that is set by hand.
struct BlobWorld: Sendable {
    static let second: Int64 = 1_000_000_000
    /// An hour.
    static let grace: Int64 = 3600 * second

    /// Content that its record holds, and content that has an object of its own; on both sides of where that begins.
    static let sizes = [0, 1, 3968, 3969, 100_000]

    let store: MemoryObjectStore
    let blobs: BlobStore
    private let time: Time

    private final class Time: Sendable {
        private let value = Mutex<Int64>(1_000_000 * BlobWorld.second)
        var now: Int64 { value.withLock { $0 } }
        func pass(_ seconds: Int64) { value.withLock { $0 += seconds * BlobWorld.second } }
    }

    init() {
        let time = Time()
        self.time = time
        store = MemoryObjectStore(now: { time.now })
        blobs = BlobStore(store: store, now: { time.now }, grace: Self.grace)
    }

    var now: Int64 { time.now }
    func pass(_ seconds: Int64) { time.pass(seconds) }

    static func content(_ size: Int, _ seed: Int = 0) -> [UInt8] {
        (0..<size).map { UInt8(truncatingIfNeeded: ($0 &+ seed) &* 31 &+ ($0 >> 8)) }
    }

    /// Writes content in pieces and publishes it.
    @discardableResult
    func write(_ bytes: [UInt8], piece: Int = 1000, as digest: Digest? = nil) async throws -> Digest {
        let writer = blobs.begin()
        for start in stride(from: 0, to: bytes.count, by: piece) {
            try await writer.write(Array(bytes[start..<min(start + piece, bytes.count)]))
        }
        let digest = digest ?? Digest.of(bytes)
        try await blobs.publish(try await writer.finish(), as: digest)
        return digest
    }

    /// Retires a blob that nothing refers to, by leases that are as old as the grace period.
    func retire(_ digest: Digest, dryRun: Bool = false) async throws -> BlobRetirement {
        try await blobs.retire(digest, cutoff: now - Self.grace, dryRun: dryRun)
    }

    func keys(_ prefix: String = "") async throws -> [String] {
        try await store.list(prefix: prefix, startAfter: nil, limit: 1000).map(\.key.text)
    }

    /// All bytes of a blob, read as a client would.
    func opened(_ digest: Digest) async throws -> [UInt8] {
        let open = try await blobs.open(digest)
        var bytes: [UInt8] = []
        while bytes.count < open.blob.size {
            let more = try await open.reader.read(at: Int64(bytes.count), maximum: 700)
            guard !more.isEmpty else { break }
            bytes += more
        }
        await open.reader.close()
        return bytes
    }
}
