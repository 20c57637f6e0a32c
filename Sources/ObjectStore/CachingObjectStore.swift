import Runtime

/// A store in front of another one that remembers small objects that were read, for a store that this process alone
/// writes to (`FilesystemObjectStore` is owned by one process): what is remembered is then never old.
///
/// All writers must go through it. (Streamed objects have new keys, and what is missing is not remembered.)
public final class CachingObjectStore: ForwardingObjectStore {
    /// Larger objects are read each time, in bytes.
    static let maximumObject = 64 << 10

    public let base: any ObjectStore
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

    public func delete(_ key: ObjectKey, ifVersion version: ObjectVersion?) async throws(ObjectStoreError) {
        defer { cache.remove(key) }
        try await base.delete(key, ifVersion: version)
    }
}
