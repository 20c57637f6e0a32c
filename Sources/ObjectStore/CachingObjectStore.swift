import Runtime

/// A store in front of another one that remembers small objects that were read. How long it believes them follows from
/// what the store inside is (`ObjectStoreCapabilities.exclusive`):
///
/// - **exclusive**, where this process alone writes: for as long as there is memory, since nothing else changes them;
/// - **shared**: up to a maximum age. What another process wrote is seen at the latest when that is over, and a change
///   reads past what is remembered (`getNow`).
///
/// What was written through it is seen by its own readers at once, so all of this process' writers must go through it.
/// What is missing is never remembered. (Streamed objects have new keys.)
public final class CachingObjectStore: ForwardingObjectStore {
    /// Larger objects are read each time, in bytes.
    static let maximumObject = 64 << 10

    private struct Entry {
        let object: StoredObject
        /// When reading it began.
        let time: Int64
    }

    public let base: any ObjectStore
    private let cache: BoundedCache<ObjectKey, Entry>
    /// In nanoseconds; nil: any.
    private let maximumAge: Int64?
    private let now: @Sendable () -> Int64

    /// - Parameters:
    ///   - memory: about how many bytes may be remembered.
    ///   - maximumAge: for how long objects of a shared store are remembered, in nanoseconds: a second unless given.
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

    @discardableResult
    public func put(
        _ key: ObjectKey, _ bytes: [UInt8], if condition: PutCondition
    ) async throws(ObjectStoreError) -> ObjectVersion {
        // Whether it succeeded, or failed in a way that leaves it open: what was known may be old.
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
        // Both taken before the read, so that what is written meanwhile makes the read worthless.
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
