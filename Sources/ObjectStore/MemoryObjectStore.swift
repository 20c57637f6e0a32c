import Runtime
import Synchronization

/// Objects in memory, for tests and demonstrations. They are gone when the process ends.
public final class MemoryObjectStore: ObjectStore {
    fileprivate struct State {
        var objects: [ObjectKey: StoredObject] = [:]
        /// All keys in byte order.
        var keys: [ObjectKey] = []
        var lastModified: Int64 = 0
    }

    private let state = Mutex(State())
    private let now: @Sendable () -> Int64
    public let capabilities: ObjectStoreCapabilities

    /// - Parameters:
    ///   - exclusive: for `capabilities`. With `false`, several caches over this store can stand for processes that
    ///     share it.
    ///   - now: nanoseconds since 1970; the system's clock unless given.
    public init(exclusive: Bool = true, now: (@Sendable () -> Int64)? = nil) {
        capabilities = ObjectStoreCapabilities(exclusive: exclusive)
        self.now = now ?? SystemClock.now
    }

    @discardableResult
    public func put(
        _ key: ObjectKey, _ bytes: [UInt8], if condition: PutCondition
    ) async throws(ObjectStoreError) -> ObjectVersion {
        guard bytes.count <= ObjectLimits.smallObject else { throw .tooLarge(key, size: Int64(bytes.count)) }
        return try insert(key, bytes, if: condition).version
    }

    fileprivate func insert(
        _ key: ObjectKey, _ bytes: [UInt8], if condition: PutCondition
    ) throws(ObjectStoreError) -> ObjectInfo {
        let now = now()
        return try state.withLock { (state) throws(ObjectStoreError) in
            try condition.check(key, current: state.objects[key]?.info.version)
            state.lastModified = max(now, state.lastModified + 1)
            let info = ObjectInfo(
                key: key, size: Int64(bytes.count), version: ObjectVersion(token: "\(state.lastModified)"),
                modified: state.lastModified)
            if state.objects.updateValue(StoredObject(info: info, bytes: bytes), forKey: key) == nil {
                state.keys.insert(key, at: state.index(of: key))
            }
            return info
        }
    }

    fileprivate func checkAbsent(_ key: ObjectKey) throws(ObjectStoreError) {
        if state.withLock({ $0.objects[key] != nil }) { throw .exists(key) }
    }

    private func object(_ key: ObjectKey) throws(ObjectStoreError) -> StoredObject {
        guard let object = state.withLock({ $0.objects[key] }) else { throw .missing(key) }
        return object
    }

    public func get(_ key: ObjectKey) async throws(ObjectStoreError) -> StoredObject {
        let object = try object(key)
        guard object.bytes.count <= ObjectLimits.smallObject else { throw .tooLarge(key, size: object.info.size) }
        return object
    }

    public func head(_ key: ObjectKey) async throws(ObjectStoreError) -> ObjectInfo { try object(key).info }

    public func delete(_ key: ObjectKey, ifVersion version: ObjectVersion?) async throws(ObjectStoreError) {
        try state.withLock { (state) throws(ObjectStoreError) in
            if let version { try PutCondition.version(version).check(key, current: state.objects[key]?.info.version) }
            if state.objects.removeValue(forKey: key) != nil { state.keys.remove(at: state.index(of: key)) }
        }
    }

    public func list(
        prefix: String, startAfter: String?, limit: Int
    ) async throws(ObjectStoreError) -> [ObjectInfo] {
        state.withLock { state in
            var infos: [ObjectInfo] = []
            var index = state.index(ofTextNotBefore: prefix)
            while infos.count < limit, index < state.keys.count, state.keys[index].text.hasBytePrefix(prefix) {
                let key = state.keys[index]
                if startAfter.map({ $0.isByteBefore(key.text) }) ?? true, let object = state.objects[key] {
                    infos.append(object.info)
                }
                index += 1
            }
            return infos
        }
    }

    public func listComponents(
        below prefix: String, startAfter: String?, limit: Int
    ) async throws(ObjectStoreError) -> [String] {
        guard prefix.isEmpty || prefix.utf8.last == UInt8(ascii: "/") else { throw .invalidKey(prefix) }
        let components = state.withLock { state in
            var components: Set<ObjectKey> = []
            for key in state.keys[state.index(ofTextNotBefore: prefix)...] {
                guard key.text.hasBytePrefix(prefix) else { break }
                let rest = key.text.utf8.dropFirst(prefix.utf8.count)
                components.insert(ObjectKey(valid: String(Substring(rest.prefix { $0 != UInt8(ascii: "/") }))))
            }
            return components
        }
        let after = components.filter { component in startAfter.map { $0.isByteBefore(component.text) } ?? true }
        return after.sorted().prefix(max(0, limit)).map(\.text)
    }

    public func open(_ key: ObjectKey) async throws(ObjectStoreError) -> any ObjectReader {
        BytesReader(try object(key))
    }

    public func writer(for key: ObjectKey, use: ObjectUse) async throws(ObjectStoreError) -> any ObjectWriter {
        try checkAbsent(key)
        return MemoryObjectWriter(store: self, key: key)
    }

    public func sync() async throws(ObjectStoreError) {}
}

extension MemoryObjectStore.State {
    fileprivate func index(ofTextNotBefore text: String) -> Int {
        var low = 0
        var high = keys.count
        while low < high {
            let middle = (low + high) / 2
            if keys[middle].text.isByteBefore(text) { low = middle + 1 } else { high = middle }
        }
        return low
    }

    fileprivate func index(of key: ObjectKey) -> Int { index(ofTextNotBefore: key.text) }
}

/// Gathers a streamed object in memory.
private final class MemoryObjectWriter: ObjectWriter {
    private let store: MemoryObjectStore
    private let key: ObjectKey
    /// nil once the writer has ended.
    private let bytes = Mutex<[UInt8]?>([])

    init(store: MemoryObjectStore, key: ObjectKey) {
        self.store = store
        self.key = key
    }

    func write(_ bytes: [UInt8]) async throws(ObjectStoreError) {
        if Task.isCancelled { throw .cancelled }
        let isOpen = self.bytes.withLock { gathered in
            gathered?.append(contentsOf: bytes)
            return gathered != nil
        }
        guard isOpen else { throw .io("\(key) is no longer being written") }
    }

    func rest() async throws(ObjectStoreError) {}

    func finish() async throws(ObjectStoreError) -> ObjectInfo {
        let taken = bytes.withLock { gathered in
            let taken = gathered
            gathered = nil
            return taken
        }
        guard let taken else { throw .io("\(key) is no longer being written") }
        return try store.insert(key, taken, if: .absent)
    }

    func abort() async { bytes.withLock { $0 = nil } }
}
