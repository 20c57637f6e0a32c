import JSON
import OCI
import ObjectStore

/// A small JSON document under a key, read and written whole.
protocol Fact: Sendable {
    /// - Returns: nil if the document is not one of this kind.
    init?(json: JSONValue)
    var json: JSONValue { get }
}

/// A fact that was read, with the version that a conditional change needs.
struct StoredFact<Value: Fact>: Sendable {
    let value: Value
    let version: ObjectVersion
}

/// Reads and writes facts.
struct Facts: Sendable {
    let store: any ObjectStore

    /// - Returns: nil if there is nothing.
    func read<Value: Fact>(_ key: ObjectKey, as _: Value.Type = Value.self) async throws(RegistryError)
        -> StoredFact<Value>?
    {
        let object: StoredObject
        do { object = try await store.get(key) } catch {
            if case .missing = error { return nil }
            throw .store(error)
        }
        guard let json = try? JSONValue(parsing: object.bytes), let value = Value(json: json) else {
            throw .damaged(key)
        }
        return StoredFact(value: value, version: object.info.version)
    }

    func write(_ fact: some Fact, at key: ObjectKey) async throws(RegistryError) {
        do { try await store.put(key, fact.json.canonicalBytes, if: .always) } catch { throw .store(error) }
    }

    /// - Returns: false if the condition does not hold.
    func write(
        _ fact: some Fact, at key: ObjectKey, if condition: PutCondition
    ) async throws(RegistryError) -> Bool {
        do {
            try await store.put(key, fact.json.canonicalBytes, if: condition)
            return true
        } catch {
            switch error {
            case .exists, .changed, .missing: return false
            default: throw .store(error)
            }
        }
    }

    func remove(_ key: ObjectKey) async throws(RegistryError) {
        do { try await store.delete(key, ifVersion: nil) } catch { throw .store(error) }
    }

    /// - Returns: false if it is another version by now.
    func remove(_ key: ObjectKey, version: ObjectVersion) async throws(RegistryError) -> Bool {
        do {
            try await store.delete(key, ifVersion: version)
            return true
        } catch {
            switch error {
            case .changed, .missing: return false
            default: throw .store(error)
            }
        }
    }

    func list(_ prefix: String, after: String?, limit: Int) async throws(RegistryError) -> [ObjectKey] {
        do {
            return try await store.list(prefix: prefix, startAfter: after, limit: limit).map(\.key)
        } catch { throw .store(error) }
    }

    func sync() async throws(RegistryError) {
        do { try await store.sync() } catch { throw .store(error) }
    }
}
