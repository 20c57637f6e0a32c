package import ObjectStore

/// Why a record could not be read or written.
package enum RecordError: Error, Hashable, Sendable {
    case unreadable(UnreadableRecord)
    /// So many others changed the same record that this change was given up.
    case contended(ObjectKey)
    case store(ObjectStoreError)
}

/// An error type that says what records say, so that whoever keeps records need not translate at each call.
package protocol RecordFailure: Error {
    init(_ error: RecordError)
}

extension RecordFailure {
    /// A key, or why it is none in this type's words.
    package static func key(_ text: String) throws(Self) -> ObjectKey {
        do { return try ObjectKey(text) } catch { throw Self(.store(error)) }
    }

    /// What a call of the store gives, or its failure in this type's words.
    package static func ofStore<Value>(
        _ call: @autoclosure () async throws(ObjectStoreError) -> Value
    ) async throws(Self) -> Value {
        do { return try await call() } catch { throw Self(.store(error)) }
    }
}

/// What becomes of a record.
package enum RecordChange<Value: Record>: Sendable {
    /// It stays as it is.
    case keep
    case write(Value)
    case remove
}

/// Reads and writes records.
///
/// Who reads one record for somebody that needs it says `read`: what can't be read is an error. Who goes through many says
/// `readable`, or looks at `find`: one that can't be read must not hide the others. Both tell `unreadable` of it.
package struct RecordStore<Failure: RecordFailure>: Sendable {
    package let store: any ObjectStore
    package let unreadable: UnreadableRecords

    /// How often a change is tried before it is given up.
    private static var maximumAttempts: Int { 16 }

    package init(_ store: any ObjectStore, unreadable: UnreadableRecords = UnreadableRecords()) {
        self.store = store
        self.unreadable = unreadable
    }

    /// The same records, read from another store: the one below a cache, by who goes through all of them.
    package func reading(_ other: any ObjectStore) -> RecordStore { RecordStore(other, unreadable: unreadable) }

    // MARK: reading

    package func find<Value: Record>(
        _ key: ObjectKey, as _: Value.Type = Value.self
    ) async throws(Failure) -> FoundRecord<Value> {
        try await find(key) { (key) throws(ObjectStoreError) in try await store.get(key) }
    }

    private func find<Value: Record>(
        _ key: ObjectKey, _ get: (ObjectKey) async throws(ObjectStoreError) -> StoredObject
    ) async throws(Failure) -> FoundRecord<Value> {
        let object: StoredObject
        do { object = try await get(key) } catch .missing {
            unreadable.forget(key)
            return .missing
        } catch { throw Failure(.store(error)) }
        return found(object)
    }

    private func found<Value: Record>(_ object: StoredObject) -> FoundRecord<Value> {
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

    /// - Returns: nil if there is none.
    /// - Throws: `.unreadable`.
    package func read<Value: Record>(
        _ key: ObjectKey, as _: Value.Type = Value.self
    ) async throws(Failure) -> StoredRecord<Value>? {
        switch try await find(key, as: Value.self) {
        case .missing: return nil
        case .stored(let record): return record
        case .unreadable(let record): throw Failure(.unreadable(record))
        }
    }

    /// - Returns: nil if there is none, or none that can be read.
    package func readable<Value: Record>(
        _ key: ObjectKey, as _: Value.Type = Value.self
    ) async throws(Failure) -> StoredRecord<Value>? {
        try await find(key, as: Value.self).readable
    }

    /// Takes note of something under a key that this binary knows nothing of: a newer version of Cistern wrote it.
    /// - Returns: nil if it is gone.
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

    /// The keys below a prefix in their order, a page.
    package func list(_ prefix: String, after: String?, limit: Int) async throws(Failure) -> [ObjectKey] {
        do { return try await store.list(prefix: prefix, startAfter: after, limit: limit).map(\.key) } catch {
            throw Failure(.store(error))
        }
    }

    /// Goes through all keys below a prefix in their order.
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

    // MARK: writing. Not durable before `sync`.

    /// Writes a record whatever is there.
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

    /// - Returns: false if it is another version by now.
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

    /// Moves a record that can't be read to `quarantine/<key>`, where an operator may look at it: from then on nothing
    /// knows of it. One of a newer format is somebody else's, and stays.
    /// - Returns: whether it was moved.
    package func setAside(_ record: UnreadableRecord) async throws(Failure) -> Bool {
        guard record.fault == .damaged else { return false }
        do throws(ObjectStoreError) {
            let object = try await store.get(record.key)
            guard object.info.version == record.version else { return false }
            // A key that is too long for that is not worth keeping the record where it does harm.
            if let key = try? ObjectKey("quarantine/\(record.key)") {
                try await store.put(key, object.bytes, if: .always)
            }
        } catch .missing { return false } catch { throw Failure(.store(error)) }
        return try await remove(record.key, version: record.version)
    }

    package func sync() async throws(Failure) {
        do { try await store.sync() } catch { throw Failure(.store(error)) }
    }

    /// Changes a record: reads it, asks what is to become of it, and writes that if nobody changed it meanwhile; else it
    /// begins again, after a rest that grows. What it decides by is never a copy that a cache remembers of a shared store.
    /// Members that this binary does not know are carried over.
    ///
    /// Where it is not known whether a write happened, what is there is read back.
    /// - Parameters:
    ///   - replacingDamaged: a damaged record is taken for none, and written over. One of a newer format never is.
    ///   - change: may be asked several times. It gets nil if there is no record.
    /// - Returns: the record as it is now, nil if there is none.
    /// - Throws: `.unreadable`, `.contended`; what `change` throws.
    @discardableResult
    package func update<Value: Record>(
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

    private enum Outcome {
        case written(ObjectVersion)
        /// The condition does not hold.
        case refused
        case failed(ObjectStoreError)
    }

    private func put(_ bytes: [UInt8], at key: ObjectKey, if condition: PutCondition) async -> Outcome {
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

    private func rest(_ attempt: Int) async throws(Failure) {
        // Two that met once are likely to part by themselves.
        guard attempt > 1 else { return }
        let longest = 1 << min(attempt, 6)
        do { try await Task.sleep(for: .milliseconds(Int.random(in: 0..<longest))) } catch {
            throw Failure(.store(.cancelled))
        }
    }
}
