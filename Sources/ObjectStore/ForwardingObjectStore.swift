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
