package import ObjectStore

/// Why a record could not be read or written.
package enum RecordError: Error, Hashable, Sendable {
    case unreadable(UnreadableRecord)
    /// The change was given up because other writers changed the same record too often.
    case contended(ObjectKey)
    case store(ObjectStoreError)
}

/// An error type that can be made from a `RecordError`, so that code that keeps records need not translate at each
/// call.
package protocol RecordFailure: Error {
    init(_ error: RecordError)
}

extension RecordFailure {
    /// Parses a key.
    /// - Throws: the parser's error as this type.
    @inlinable package static func key(_ text: String) throws(Self) -> ObjectKey {
        do { return try ObjectKey(text) } catch { throw Self(.store(error)) }
    }

    /// Returns what a call of the object store returns, or throws its error as this type.
    @inlinable package static func ofStore<Value>(
        _ call: @autoclosure () async throws(ObjectStoreError) -> Value
    ) async throws(Self) -> Value {
        do { return try await call() } catch { throw Self(.store(error)) }
    }
}

/// How to change a record.
package enum RecordChange<Value: Record>: Sendable {
    /// Leave the record as it is.
    case keep
    case write(Value)
    case remove
}

/// Reads and writes records.
///
/// To read one record that is needed, call `read`, which throws if the record can't be read. To go through many, call
/// `readable` or `find`, so that one unreadable record does not hide the others. All of them report such a record to
/// `unreadable`.
///
/// What is called for many records is inlinable, since generic code of another module is slow.
package struct RecordStore<Failure: RecordFailure>: Sendable {
    package let store: any ObjectStore
    package let unreadable: UnreadableRecords

    /// How often a change is tried before it is given up.
    @usableFromInline static var maximumAttempts: Int { 16 }

    @inlinable package init(_ store: any ObjectStore, unreadable: UnreadableRecords = UnreadableRecords()) {
        self.store = store
        self.unreadable = unreadable
    }

    /// The same records, read from another store: a walk through all records uses the store below the cache.
    @inlinable package func reading(_ other: any ObjectStore) -> RecordStore {
        RecordStore(other, unreadable: unreadable)
    }

    // MARK: reading

    @inlinable package func find<Value: Record>(
        _ key: ObjectKey, as _: Value.Type = Value.self
    ) async throws(Failure) -> FoundRecord<Value> {
        try await find(key) { (key) throws(ObjectStoreError) in try await store.get(key) }
    }

    @inlinable func find<Value: Record>(
        _ key: ObjectKey, _ get: (ObjectKey) async throws(ObjectStoreError) -> StoredObject
    ) async throws(Failure) -> FoundRecord<Value> {
        let object: StoredObject
        do { object = try await get(key) } catch .missing {
            unreadable.forget(key)
            return .missing
        } catch { throw Failure(.store(error)) }
        return found(object)
    }

    @inlinable func found<Value: Record>(_ object: StoredObject) -> FoundRecord<Value> {
        do throws(RecordFault) {
            let value = try Value.decode(object.bytes, at: object.info.key)
            unreadable.forget(object.info.key)
            return .stored(StoredRecord(value: value, version: object.info.version, bytes: object.bytes))
        } catch {
            let record = UnreadableRecord(object.info, error, namesContent: Value.namesContent)
            unreadable.note(record)
            return .unreadable(record)
        }
    }

    /// - Returns: the record; nil if there is none.
    /// - Throws: `.unreadable`.
    @inlinable package func read<Value: Record>(
        _ key: ObjectKey, as _: Value.Type = Value.self
    ) async throws(Failure) -> StoredRecord<Value>? {
        switch try await find(key, as: Value.self) {
        case .missing: return nil
        case .stored(let record): return record
        case .unreadable(let record): throw Failure(.unreadable(record))
        }
    }

    /// - Returns: the record; nil if there is none or it can't be read.
    @inlinable package func readable<Value: Record>(
        _ key: ObjectKey, as _: Value.Type = Value.self
    ) async throws(Failure) -> StoredRecord<Value>? {
        try await find(key, as: Value.self).readable
    }

    /// Reads many records past the store's cache, where they would displace what is read again.
    /// - Returns: those that are there and can be read, in the order of their keys.
    @inlinable package func readable<Value: Record>(
        _ keys: [ObjectKey], as _: Value.Type = Value.self
    ) async throws(Failure) -> [Value] {
        try await stored(keys).map(\.value)
    }

    /// Reads many records as `readable` does.
    /// - Returns: them with their versions.
    @inlinable package func stored<Value: Record>(
        _ keys: [ObjectKey], as _: Value.Type = Value.self
    ) async throws(Failure) -> [StoredRecord<Value>] {
        let objects: [StoredObject?]
        do { objects = try await store.uncached.get(keys) } catch { throw Failure(.store(error)) }
        var values: [StoredRecord<Value>] = []
        values.reserveCapacity(keys.count)
        for (key, object) in zip(keys, objects) {
            guard let object else {
                unreadable.forget(key)
                continue
            }
            let record: FoundRecord<Value> = found(object)
            if let stored = record.readable { values.append(stored) }
        }
        return values
    }

    /// Notes an object under a key that this binary does not know, because a newer version of Cistern wrote it.
    /// - Returns: nil if the object is gone.
    package func stranger(_ key: ObjectKey) async throws(Failure) -> UnreadableRecord? {
        do throws(ObjectStoreError) {
            let record = UnreadableRecord(try await store.head(key), .newer(format: nil), namesContent: true)
            unreadable.note(record)
            return record
        } catch .missing { return nil } catch { throw Failure(.store(error)) }
    }

    package func isThere(_ key: ObjectKey) async throws(Failure) -> Bool {
        do { _ = try await store.head(key) } catch .missing { return false } catch { throw Failure(.store(error)) }
        return true
    }

    /// One page of the keys below a prefix, in order.
    package func list(_ prefix: String, after: String?, limit: Int) async throws(Failure) -> [ObjectKey] {
        do { return try await store.list(prefix: prefix, startAfter: after, limit: limit).map(\.key) } catch {
            throw Failure(.store(error))
        }
    }

    /// What stands in the keys below a folder up to the next `/`, each once, in byte order.
    /// - Parameter prefix: ends with `/`.
    package func listComponents(below prefix: String, after: String?, limit: Int) async throws(Failure) -> [String] {
        do { return try await store.listComponents(below: prefix, startAfter: after, limit: limit) } catch {
            throw Failure(.store(error))
        }
    }

    /// Calls `body` with each key below a prefix, in order.
    package func forEach(
        _ prefix: String, page: Int = 1000, _ body: (ObjectKey) async throws(Failure) -> Void
    ) async throws(Failure) {
        var after: String?
        while true {
            if Task.isCancelled { throw Failure(.store(.cancelled)) }
            let keys = try await list(prefix, after: after, limit: page)
            for key in keys { try await body(key) }
            guard keys.count == page, let last = keys.last else { return }
            after = last.text
        }
    }

    // MARK: writing; nothing is durable before `sync`

    /// Writes a record, unconditionally.
    package func write(_ record: some Record, at key: ObjectKey) async throws(Failure) {
        _ = try await write(record, at: key, if: .always)
    }

    /// - Returns: the new version; nil if the condition does not hold.
    package func write(
        _ record: some Record, at key: ObjectKey, if condition: PutCondition
    ) async throws(Failure) -> ObjectVersion? {
        switch await put(record.encode(over: nil, at: key), at: key, if: condition) {
        case .written(let version): return version
        case .refused: return nil
        case .failed(let error): throw Failure(.store(error))
        }
    }

    package func remove(_ key: ObjectKey) async throws(Failure) {
        do { try await store.delete(key, ifVersion: nil) } catch { throw Failure(.store(error)) }
        unreadable.forget(key)
    }

    /// - Returns: false if the record is gone or has another version by now.
    package func remove(_ key: ObjectKey, version: ObjectVersion) async throws(Failure) -> Bool {
        do { try await store.delete(key, ifVersion: version) } catch {
            switch error {
            case .changed, .missing: return false
            default: throw Failure(.store(error))
            }
        }
        unreadable.forget(key)
        return true
    }

    /// Moves a damaged record to `quarantine/<key>`, for an operator to inspect; from then on no component reads it. A
    /// record of a newer format stays where it is.
    /// - Returns: whether it was moved.
    package func setAside(_ record: UnreadableRecord) async throws(Failure) -> Bool {
        guard record.fault == .damaged else { return false }
        do throws(ObjectStoreError) {
            let object = try await store.get(record.key)
            guard object.info.version == record.version else { return false }
            // Where the quarantine key would be too long the record is only removed, since it does harm where it is.
            if let key = try? ObjectKey("quarantine/\(record.key)") {
                try await store.put(key, object.bytes, if: .always)
            }
        } catch .missing { return false } catch { throw Failure(.store(error)) }
        return try await remove(record.key, version: record.version)
    }

    package func sync() async throws(Failure) {
        do { try await store.sync() } catch { throw Failure(.store(error)) }
    }

    /// Changes a record: reads it, calls `change`, and writes the result if nobody changed the record meanwhile; else
    /// it tries again after a growing random pause. On a shared store it reads past the cache. Members that this binary
    /// does not know are carried over.
    ///
    /// If the outcome of a write is unknown, the record is read back.
    /// - Parameters:
    ///   - replacingDamaged: whether to treat a damaged record as missing and write over it. One of a newer format is
    ///     never replaced.
    ///   - change: may be called several times. It gets nil if there is no record.
    /// - Returns: the record as it is now; nil if there is none.
    /// - Throws: `.unreadable`, `.contended`; what `change` throws.
    @discardableResult
    @inlinable package func update<Value: Record>(
        _ key: ObjectKey, as _: Value.Type = Value.self, replacingDamaged: Bool = false,
        _ change: (StoredRecord<Value>?) async throws(Failure) -> RecordChange<Value>
    ) async throws(Failure) -> StoredRecord<Value>? {
        for attempt in 0..<Self.maximumAttempts {
            if attempt > 0 { try await rest(attempt) }
            var old: StoredRecord<Value>?
            let condition: PutCondition
            let found: FoundRecord<Value> = try await find(key) { (key) throws(ObjectStoreError) in
                try await store.getNow(key)
            }
            switch found {
            case .missing: condition = .absent
            case .stored(let record):
                old = record
                condition = .version(record.version)
            case .unreadable(let record):
                guard replacingDamaged, record.fault == .damaged else { throw Failure(.unreadable(record)) }
                condition = .version(record.version)
            }
            switch try await change(old) {
            case .keep: return old
            case .remove:
                guard case .version(let version) = condition else { return nil }
                if try await remove(key, version: version) { return nil }
            case .write(let value):
                let bytes = value.encode(over: old?.bytes, at: key)
                switch await put(bytes, at: key, if: condition) {
                case .written(let version): return StoredRecord(value: value, version: version, bytes: bytes)
                case .refused: break
                case .failed(let error): throw Failure(.store(error))
                }
            }
        }
        throw Failure(.contended(key))
    }

    @usableFromInline enum Outcome {
        case written(ObjectVersion)
        /// The condition does not hold.
        case refused
        case failed(ObjectStoreError)
    }

    @usableFromInline func put(_ bytes: [UInt8], at key: ObjectKey, if condition: PutCondition) async -> Outcome {
        let failure: ObjectStoreError
        do throws(ObjectStoreError) {
            let version = try await store.put(key, bytes, if: condition)
            unreadable.forget(key)
            return .written(version)
        } catch { failure = error }
        switch failure {
        case .exists, .changed, .missing: return .refused
        default:
            guard failure.isOutcomeUnknown, let there = try? await store.getNow(key), there.bytes == bytes else {
                return .failed(failure)
            }
            return .written(there.info.version)
        }
    }

    @usableFromInline func rest(_ attempt: Int) async throws(Failure) {
        // After the first collision no pause is needed: two writers seldom collide twice in a row.
        guard attempt > 1 else { return }
        let longest = 1 << min(attempt, 6)
        do { try await Task.sleep(for: .milliseconds(Int.random(in: 0..<longest))) } catch {
            throw Failure(.store(.cancelled))
        }
    }
}
