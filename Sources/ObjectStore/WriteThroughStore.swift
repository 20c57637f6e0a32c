/// A store in front of another one that remembers small objects that were read, for a store that this process alone
/// writes to (`FilesystemObjectStore` is owned by one process): what is remembered is then never old.
///
/// All writers must go through it.
public final class WriteThroughStore: ObjectStore {
    /// Larger objects are read each time, in bytes.
    static let maximumObject = 64 << 10

    private let base: any ObjectStore
    private let cache: BoundedCache<ObjectKey, StoredObject>

    /// - Parameter memory: about how many bytes may be remembered.
    public init(_ base: any ObjectStore, memory: Int = 24 << 20) {
        self.base = base
        cache = BoundedCache(maximumCost: memory)
    }

    @discardableResult
    public func put(
        _ key: ObjectKey, _ bytes: [UInt8], if condition: PutCondition
    ) async throws(ObjectStoreError) -> ObjectVersion {
        // Whether it succeeded, or failed in a way that leaves it open: what was known may be old.
        defer { cache.remove(key) }
        return try await base.put(key, bytes, if: condition)
    }

    public func get(_ key: ObjectKey) async throws(ObjectStoreError) -> StoredObject {
        if let object = cache.value(key) { return object }
        // Taken before the read, so that what is written meanwhile makes the read worthless.
        let mark = cache.mark
        let object = try await base.get(key)
        if object.bytes.count <= Self.maximumObject {
            cache.insert(object, for: key, cost: object.bytes.count + 256, since: mark)
        }
        return object
    }

    public func head(_ key: ObjectKey) async throws(ObjectStoreError) -> ObjectInfo { try await base.head(key) }

    public func delete(_ key: ObjectKey, ifVersion version: ObjectVersion?) async throws(ObjectStoreError) {
        defer { cache.remove(key) }
        try await base.delete(key, ifVersion: version)
    }

    public func list(
        prefix: String, startAfter: String?, limit: Int
    ) async throws(ObjectStoreError) -> [ObjectInfo] {
        try await base.list(prefix: prefix, startAfter: startAfter, limit: limit)
    }

    public func listComponents(
        below prefix: String, startAfter: String?, limit: Int
    ) async throws(ObjectStoreError) -> [String] {
        try await base.listComponents(below: prefix, startAfter: startAfter, limit: limit)
    }

    public func open(_ key: ObjectKey) async throws(ObjectStoreError) -> any ObjectReader { try await base.open(key) }

    public func writer(for key: ObjectKey, use: ObjectUse) async throws(ObjectStoreError) -> any ObjectWriter {
        // A streamed object's key is a new one, and what is missing is not remembered.
        try await base.writer(for: key, use: use)
    }

    public func copy(_ source: ObjectKey, to target: ObjectKey) async throws(ObjectStoreError) {
        try await base.copy(source, to: target)
    }

    public func presignedURL(for key: ObjectKey, lifetime: Duration) async throws(ObjectStoreError) -> String? {
        try await base.presignedURL(for: key, lifetime: lifetime)
    }

    public func sync() async throws(ObjectStoreError) { try await base.sync() }
}
