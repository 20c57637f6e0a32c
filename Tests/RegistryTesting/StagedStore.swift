package import ObjectStore
import Synchronization

/// A store that, before the first call of a kind, does something else: the moment at which another request comes in.
package final class StagedStore: ForwardingObjectStore {
    package let base: any ObjectStore
    private struct Scene {
        let isNow: @Sendable (Calls.Call) -> Bool
        let action: @Sendable () async -> Void
    }
    private let scene = Mutex<Scene?>(nil)

    package init(base: any ObjectStore) { self.base = base }

    package func before(
        _ isNow: @escaping @Sendable (Calls.Call) -> Bool, _ action: @escaping @Sendable () async -> Void
    ) {
        scene.withLock { $0 = Scene(isNow: isNow, action: action) }
    }

    package var hasHappened: Bool { scene.withLock { $0 == nil } }

    private func play(_ operation: ObjectOperation, _ key: ObjectKey? = nil) async {
        let call = Calls.Call(operation: operation, key: key?.text)
        let action = scene.withLock { scene -> (@Sendable () async -> Void)? in
            guard let now = scene, now.isNow(call) else { return nil }
            scene = nil
            return now.action
        }
        await action?()
    }

    package func put(
        _ key: ObjectKey, _ bytes: [UInt8], if condition: PutCondition
    ) async throws(ObjectStoreError) -> ObjectVersion {
        await play(.put, key)
        return try await base.put(key, bytes, if: condition)
    }

    package func get(_ key: ObjectKey) async throws(ObjectStoreError) -> StoredObject {
        await play(.get, key)
        return try await base.get(key)
    }

    package func getNow(_ key: ObjectKey) async throws(ObjectStoreError) -> StoredObject { try await get(key) }

    package func head(_ key: ObjectKey) async throws(ObjectStoreError) -> ObjectInfo {
        await play(.head, key)
        return try await base.head(key)
    }

    package func delete(_ key: ObjectKey, ifVersion version: ObjectVersion?) async throws(ObjectStoreError) {
        await play(.delete, key)
        try await base.delete(key, ifVersion: version)
    }

    package func list(prefix: String, startAfter: String?, limit: Int) async throws(ObjectStoreError) -> [ObjectInfo] {
        await play(.list)
        return try await base.list(prefix: prefix, startAfter: startAfter, limit: limit)
    }

    package func sync() async throws(ObjectStoreError) {
        await play(.sync)
        try await base.sync()
    }
}
