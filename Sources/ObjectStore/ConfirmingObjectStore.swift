/// A store in front of another one that looks for answers that were lost: where the outcome of a change is unknown, what is
/// there is read back, and only if that does not show the change does the outcome stay unknown.
///
/// A record's bytes must therefore be another's only if they mean the same: who must know its own write from another's of
/// the same meaning puts something into it that nobody else has.
public struct ConfirmingObjectStore: ForwardingObjectStore {
    public let base: any ObjectStore

    public init(_ base: any ObjectStore) { self.base = base }

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

    /// Streamed objects have new names: what is there under one is what was written.
    func finish() async throws(ObjectStoreError) -> ObjectInfo {
        do throws(ObjectStoreError) { return try await base.finish() } catch {
            guard error.isOutcomeUnknown, let found = try? await store.head(key) else { throw error }
            return found
        }
    }
}
