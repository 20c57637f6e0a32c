import Blobs
import OCI
import ObjectStore
import RegistryTesting
import Synchronization
import TestSupport
import Testing

@testable import Maintenance
@testable import Registry

/// A registry over memory with quotas, and clocks that are set by hand.
struct QuotaWorld: Sendable {
    static let second: Int64 = 1_000_000_000
    static let grace: Int64 = 3600 * second

    let store: MemoryObjectStore
    let blobs: BlobStore
    let quotas: QuotaLedger
    let registry: Registry
    let uploads: UploadSessions
    let owners: ContentOwners
    let counter: UsageCounter
    private let sizes = KnownSizes()
    private let time: Time

    final class Time: Sendable {
        private let passed = Mutex<Int64>(0)
        private let start = ContinuousClock.now
        var wall: Int64 { passed.withLock { (1_000_000 + $0) * QuotaWorld.second } }
        var steady: ContinuousClock.Instant { passed.withLock { start + .seconds($0) } }
        func pass(_ seconds: Int64) { passed.withLock { $0 += seconds } }
    }

    /// - Parameter before: one whose server is over: its store is used.
    init(
        _ quotas: [String: Int64] = [:], storeLimit: Int64? = nil, after before: QuotaWorld? = nil
    ) throws {
        let time = before?.time ?? Time()
        self.time = time
        store = before?.store ?? MemoryObjectStore(now: { time.wall })
        let book = QuotaLedger(storeLimit: storeLimit)
        book.replace(Self.quotas(quotas))
        self.quotas = book
        blobs = BlobStore(
            store: store, now: { time.wall }, grace: Self.grace, quotas: storeLimit == nil ? nil : book)
        registry = Registry(store: store, blobs: blobs, quotas: book, now: { time.wall })
        uploads = UploadSessions(registry: registry, now: { time.steady })
        owners = ContentOwners([PushedRepositories(registry: registry)])
        counter = UsageCounter(quotas: book, owners: owners, reading: store, now: { time.wall })
    }

    /// One in which everything is counted.
    static func counted(_ quotas: [String: Int64] = [:], storeLimit: Int64? = nil) async throws -> QuotaWorld {
        let world = try QuotaWorld(quotas, storeLimit: storeLimit)
        try await world.counter.count()
        return world
    }

    /// Quotas of whatever begins with some texts.
    static func quotas(_ quotas: [String: Int64]) -> [Quota] {
        quotas.sorted { $0.key < $1.key }.map { prefix, bytes in
            Quota(repositories: prefix, bytes: bytes, covers: { $0.hasPrefix(prefix) })
        }
    }

    func pass(_ seconds: Int64) { time.pass(seconds) }
    var now: ContinuousClock.Instant { time.steady }

    func total(_ prefix: String) throws -> QuotaUsage.Total {
        try #require(quotas.usage.quotas.first { $0.repositories == prefix }).total
    }

    func held(_ prefix: String) throws -> Int64 { try total(prefix).reserved }

    func used(_ prefix: String) throws -> Int64? { try total(prefix).used }

    /// Bytes that no two calls make the same.
    static func noise(_ count: Int) -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        return (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
    }

    func owner(_ name: String) throws -> UploadOwner {
        UploadOwner(repository: try RepositoryName(parsing: name), user: "u")
    }

    @discardableResult
    func push(_ bytes: [UInt8], to name: String, declared: Bool = true) async throws -> Digest {
        sizes.add(bytes)
        let length = declared ? Int64(bytes.count) : nil
        return try await uploads.take(
            try owner(name), AsyncElements([bytes]), length: length, as: Digest.of(bytes)
        ).digest
    }

    /// An image manifest, padded to a size, that names blobs.
    func manifest(_ layers: [Digest], size: Int) -> [UInt8] {
        let list = layers.map {
            #"{"mediaType":"\#(MediaType.ociLayer)","digest":"\#($0)","size":\#(sizes[$0])}"#
        }
        let config = #"{"mediaType":"\#(MediaType.ociConfig)","digest":"\#(Digest.of([]))","size":0}"#
        let text = #"{"schemaVersion":2,"config":\#(config),"layers":[\#(list.joined(separator: ","))]}"#
        return Array(text.utf8) + [UInt8](repeating: 0x20, count: max(0, size - text.utf8.count))
    }

    @discardableResult
    func put(_ manifest: [UInt8], to name: String, _ tag: String) async throws -> Digest {
        try await registry.putManifest(
            try RepositoryName(parsing: name), try Reference(parsing: tag), contentType: MediaType.ociManifest.text,
            manifest
        ).digest
    }

    /// Pieces of content that are kept, whoever names them, and their bytes together.
    func contents() async throws -> (count: Int, bytes: Int64) {
        let sizes = try await store.contentSizes()
        return (sizes.count, sizes.reduce(0, +))
    }
}

/// Expects that a limit stands in the way.
@discardableResult
func expectDenial<Value: Sendable>(
    _ sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> Value
) async throws -> QuotaDenial? {
    do {
        _ = try await body()
    } catch RegistryError.blob(.overQuota(let denial)) {
        return denial
    } catch BlobError.overQuota(let denial) {
        return denial
    }
    Issue.record("nothing stood in the way", sourceLocation: sourceLocation)
    return nil
}

/// A number that several tasks change.
final class Sum: Sendable {
    private let number = Mutex<Int64>(0)
    var value: Int64 { number.withLock { $0 } }
    func add(_ more: Int64) { number.withLock { $0 += more } }
    func raise(to other: Int64) { number.withLock { $0 = max($0, other) } }
}
