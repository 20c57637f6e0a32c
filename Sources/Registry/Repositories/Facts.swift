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
        guard let (value, version) = try await readOrVersion(key, as: Value.self) else { return nil }
        guard let value else { throw .damaged(key) }
        return StoredFact(value: value, version: version)
    }

    /// As `read`, for who would write over what can't be read: nil for that, with its version.
    func readOrVersion<Value: Fact>(_ key: ObjectKey, as _: Value.Type = Value.self) async throws(RegistryError)
        -> (value: Value?, version: ObjectVersion)?
    {
        let object: StoredObject
        do { object = try await store.get(key) } catch {
            if case .missing = error { return nil }
            throw .store(error)
        }
        return ((try? JSONValue(parsing: object.bytes)).flatMap { Value(json: $0) }, object.info.version)
    }

    /// As `read`, for lists: what can't be read is left out.
    func readable<Value: Fact>(_ key: ObjectKey, as _: Value.Type = Value.self) async throws(RegistryError)
        -> StoredFact<Value>?
    {
        guard let (value, version) = try await readOrVersion(key, as: Value.self), let value else { return nil }
        return StoredFact(value: value, version: version)
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
