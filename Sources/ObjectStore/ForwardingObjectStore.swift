/// A store that forwards each call to another one. A conforming type implements only the calls that it changes.
public protocol ForwardingObjectStore: ObjectStore {
    var base: any ObjectStore { get }
}

extension ForwardingObjectStore {
    public var capabilities: ObjectStoreCapabilities { base.capabilities }

    @discardableResult
    public func put(
        _ key: ObjectKey, _ bytes: [UInt8], if condition: PutCondition
    ) async throws(ObjectStoreError) -> ObjectVersion { try await base.put(key, bytes, if: condition) }

    public func get(_ key: ObjectKey) async throws(ObjectStoreError) -> StoredObject { try await base.get(key) }
    public func getNow(_ key: ObjectKey) async throws(ObjectStoreError) -> StoredObject { try await base.getNow(key) }
    public func head(_ key: ObjectKey) async throws(ObjectStoreError) -> ObjectInfo { try await base.head(key) }

    public func delete(_ key: ObjectKey, ifVersion version: ObjectVersion?) async throws(ObjectStoreError) {
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
        try await base.writer(for: key, use: use)
    }

    public func presignedURL(for key: ObjectKey, lifetime: Duration) async throws(ObjectStoreError) -> String? {
        try await base.presignedURL(for: key, lifetime: lifetime)
    }

    public func sync() async throws(ObjectStoreError) { try await base.sync() }
}

/// Recovers lost answers of another store: where the outcome of a change is unknown, it reads the object back. The
/// outcome stays unknown only if the object does not show the change.
///
/// Equal bytes count as the caller's own write. A caller that must tell its write from another's with the same meaning
/// puts something unique into the bytes.
public struct ConfirmingObjectStore: ForwardingObjectStore {
    public let base: any ObjectStore

    public init(_ base: any ObjectStore) { self.base = base }

    public func get(_ keys: [ObjectKey]) async throws(ObjectStoreError) -> [StoredObject?] { try await base.get(keys) }

    @discardableResult
    public func put(
        _ key: ObjectKey, _ bytes: [UInt8], if condition: PutCondition
    ) async throws(ObjectStoreError) -> ObjectVersion {
        do throws(ObjectStoreError) { return try await base.put(key, bytes, if: condition) } catch {
            guard error.isOutcomeUnknown, let found = try? await base.get(key), found.bytes == bytes else {
                throw error
            }
            return found.info.version
        }
    }

    public func delete(_ key: ObjectKey, ifVersion version: ObjectVersion?) async throws(ObjectStoreError) {
        do throws(ObjectStoreError) { try await base.delete(key, ifVersion: version) } catch {
            guard error.isOutcomeUnknown else { throw error }
            do throws(ObjectStoreError) { _ = try await base.head(key) } catch let other {
                if case .missing = other { return }
            }
            throw error
        }
    }

    public func writer(for key: ObjectKey, use: ObjectUse) async throws(ObjectStoreError) -> any ObjectWriter {
        ConfirmingObjectWriter(base: try await base.writer(for: key, use: use), store: base, key: key)
    }
}

private struct ConfirmingObjectWriter: ObjectWriter {
    let base: any ObjectWriter
    let store: any ObjectStore
    let key: ObjectKey

    func write(_ bytes: [UInt8]) async throws(ObjectStoreError) { try await base.write(bytes) }
    func rest() async throws(ObjectStoreError) { try await base.rest() }
    func abort() async { await base.abort() }

    /// Finishes the stream. If the outcome is unknown, an object under the key proves that it succeeded, since each
    /// streamed object has a new key.
    func finish() async throws(ObjectStoreError) -> ObjectInfo {
        do throws(ObjectStoreError) { return try await base.finish() } catch {
            guard error.isOutcomeUnknown, let found = try? await store.head(key) else { throw error }
            return found
        }
    }
}
