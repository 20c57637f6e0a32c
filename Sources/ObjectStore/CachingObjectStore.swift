import Runtime

/// Caches small objects that were read from another store. For how long an entry counts depends on whether that store
/// is exclusive (`ObjectStoreCapabilities.exclusive`):
///
/// - **exclusive** (only this process writes): until it is evicted, since nobody else changes the object;
/// - **shared**: up to a maximum age, so another process's write is seen after that time at the latest. A caller that
///   decides by an object what to write reads it with `getNow`, which does not use the cache.
///
/// A write through this store removes the entry, so that its readers see the write at once. All writers of this
/// process must therefore use it. Missing objects are not cached. (Streamed objects have new keys, so no entry can be
/// stale.)
public final class CachingObjectStore: ForwardingObjectStore {
    /// The largest object that is cached, in bytes.
    static let maximumObject = 64 << 10

    private struct Entry {
        let object: StoredObject
        /// When the read of the object began, by the clock `now`.
        let time: Int64
    }

    public let base: any ObjectStore
    private let cache: BoundedCache<ObjectKey, Entry>
    /// For how long an entry counts, in nanoseconds; nil: without limit.
    private let maximumAge: Int64?
    private let now: @Sendable () -> Int64

    /// - Parameters:
    ///   - memory: about how many bytes the cached objects may take.
    ///   - maximumAge: for how long an entry of a shared store counts, in nanoseconds; 1 s unless given.
    ///   - now: nanoseconds of a clock that is never set back; the system's unless given.
    public init(
        _ base: any ObjectStore, memory: Int = 24 << 20, maximumAge: Int64 = 1_000_000_000,
        now: (@Sendable () -> Int64)? = nil
    ) {
        self.base = base
        self.now = now ?? SystemClock.monotonic
        self.maximumAge = base.capabilities.exclusive ? nil : maximumAge
        cache = BoundedCache(maximumCost: memory)
    }

    public var uncached: any ObjectStore { base }

    @discardableResult
    public func put(
        _ key: ObjectKey, _ bytes: [UInt8], if condition: PutCondition
    ) async throws(ObjectStoreError) -> ObjectVersion {
        // The entry is removed even if the write failed, since a write whose outcome is unknown may have been made.
        defer { cache.remove(key) }
        return try await base.put(key, bytes, if: condition)
    }

    public func get(_ key: ObjectKey) async throws(ObjectStoreError) -> StoredObject {
        if let entry = cache.value(key) {
            guard let maximumAge else { return entry.object }
            if now() - entry.time < maximumAge { return entry.object }
        }
        return try await read(key) { (key) throws(ObjectStoreError) in try await self.base.get(key) }
    }

    public func getNow(_ key: ObjectKey) async throws(ObjectStoreError) -> StoredObject {
        guard maximumAge != nil else { return try await get(key) }
        return try await read(key) { (key) throws(ObjectStoreError) in try await self.base.getNow(key) }
    }

    private func read(
        _ key: ObjectKey, _ load: (ObjectKey) async throws(ObjectStoreError) -> StoredObject
    ) async throws(ObjectStoreError) -> StoredObject {
        // Taken before the read: a removal during the read invalidates `mark`, and the entry's age counts from `time`.
        let (mark, time) = (cache.mark, now())
        let object: StoredObject
        do { object = try await load(key) } catch {
            if case .missing = error, cache.value(key) != nil { cache.remove(key) }
            throw error
        }
        if object.bytes.count <= Self.maximumObject {
            cache.insert(Entry(object: object, time: time), for: key, cost: object.bytes.count + 256, since: mark)
        }
        return object
    }

    public func delete(_ key: ObjectKey, ifVersion version: ObjectVersion?) async throws(ObjectStoreError) {
        defer { cache.remove(key) }
        try await base.delete(key, ifVersion: version)
    }
}
