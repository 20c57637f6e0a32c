public import Logging
import Runtime

/// Objects in a directory, for one process at a time.
///
/// Each object is a plain file under `objects/`. A journal next to it makes small objects durable in the order in
/// which they were written; `StoreEngine` says how.
public final class FilesystemObjectStore: ObjectStore {
    public struct Options: Sendable {
        /// A journal segment's size in bytes.
        public var segmentBytes = 8 << 20
        /// For how long changes go into one segment. So what was replaced or deleted, a secret for example, is in no
        /// file soon after.
        public var segmentAge = Duration.seconds(60)
        /// How many full segments may wait until their changes are in the tree; with so many, new changes wait.
        public var segments = 4
        /// The size of the reserve file that is removed when the disk is full, in bytes; 0 for no reserve.
        public var reserveBytes = 32 << 20
        /// How many bytes of content, and how many changes, may wait in memory to be flushed and applied.
        public var pendingBytes = 16 << 20
        public var pendingObjects = 8192
        /// How long changes may wait before they are flushed, even if no caller waits for that.
        public var flushDelay = Duration.seconds(1)
        /// Whether to open a store whose journal has lost what it held, without that.
        public var acceptsLoss = false
        /// The store's clock: nanoseconds since 1970.
        public var now: @Sendable () -> Int64 = SystemClock.now

        public init() {}
    }

    let engine: StoreEngine

    /// Opens a directory, or makes it if it is missing. This takes milliseconds, however many objects there are.
    /// - Throws: `.owned` if another process has it; `.permission`, `.full`; `.io` if its journal is damaged or
    ///   missing, unless that is accepted.
    public convenience init(
        root: String, options: Options = Options(), logger: Logger
    ) throws(ObjectStoreError) {
        let files = try withStoreErrors { () throws(FileSystemError) in try LinuxFileSystem(root: root) }
        try self.init(files: files, options: options, logger: logger, ownership: try Ownership(files))
    }

    init(
        files: any FileSystem, options: Options, logger: Logger, ownership: Ownership? = nil
    ) throws(ObjectStoreError) {
        engine = try StoreEngine(files: files, options: options, logger: logger, ownership: ownership)
    }

    /// A store that was not closed is left as after a crash: what was not flushed is lost.
    deinit { engine.abandon() }

    /// Flushes all changes, applies them to the tree and releases the directory. Later calls fail with `.cancelled`;
    /// open readers go on.
    public func close() async throws(ObjectStoreError) { try await engine.close() }

    public var capabilities: ObjectStoreCapabilities { ObjectStoreCapabilities(exclusive: true) }

    @discardableResult
    public func put(
        _ key: ObjectKey, _ bytes: [UInt8], if condition: PutCondition
    ) async throws(ObjectStoreError) -> ObjectVersion {
        guard bytes.count <= ObjectLimits.smallObject else { throw .tooLarge(key, size: Int64(bytes.count)) }
        let engine = engine
        return try await engine.change { () throws(ObjectStoreError) in
            try engine.put(key, bytes, if: condition)
        }.version
    }

    public func get(_ key: ObjectKey) async throws(ObjectStoreError) -> StoredObject {
        let engine = engine
        if let object = try engine.findInMemory(key) { return object }
        return try await engine.readers.run { () throws(ObjectStoreError) in try engine.get(key) }
    }

    /// How many objects one thread reads before another caller's turn.
    private static let readsAtOnce = 32

    public func get(_ keys: [ObjectKey]) async throws(ObjectStoreError) -> [StoredObject?] {
        let engine = engine
        var objects: [StoredObject?] = []
        objects.reserveCapacity(keys.count)
        for start in stride(from: 0, to: keys.count, by: Self.readsAtOnce) {
            let some = keys[start..<min(start + Self.readsAtOnce, keys.count)]
            objects += try await engine.readers.run { () throws(ObjectStoreError) in
                var objects: [StoredObject?] = []
                for key in some {
                    do throws(ObjectStoreError) { objects.append(try engine.get(key)) } catch {
                        guard case .missing = error else { throw error }
                        objects.append(nil)
                    }
                }
                return objects
            }
        }
        return objects
    }

    public func head(_ key: ObjectKey) async throws(ObjectStoreError) -> ObjectInfo {
        let engine = engine
        return try await engine.readers.run { () throws(ObjectStoreError) in try engine.head(key) }
    }

    public func delete(_ key: ObjectKey, ifVersion version: ObjectVersion?) async throws(ObjectStoreError) {
        let engine = engine
        try await engine.change { () throws(ObjectStoreError) in try engine.delete(key, ifVersion: version) }
    }

    public func list(
        prefix: String, startAfter: String?, limit: Int
    ) async throws(ObjectStoreError) -> [ObjectInfo] {
        let engine = engine
        return try await engine.readers.run { () throws(ObjectStoreError) in
            try engine.list(prefix: prefix, startAfter: startAfter, limit: limit)
        }
    }

    public func listComponents(
        below prefix: String, startAfter: String?, limit: Int
    ) async throws(ObjectStoreError) -> [String] {
        let engine = engine
        return try await engine.readers.run { () throws(ObjectStoreError) in
            try engine.listComponents(below: prefix, startAfter: startAfter, limit: limit)
        }
    }

    public func open(_ key: ObjectKey) async throws(ObjectStoreError) -> any ObjectReader {
        let engine = engine
        return switch try await engine.readers.run({ () throws(ObjectStoreError) in try engine.find(key) }) {
        case .bytes(let object): BytesReader(object)
        case .file(let file, let info): FileObjectReader(file, info, engine)
        }
    }

    public func writer(for key: ObjectKey, use: ObjectUse) async throws(ObjectStoreError) -> any ObjectWriter {
        let engine = engine
        let name = engine.temporaryName()
        let file = try await engine.change { () throws(ObjectStoreError) in
            try engine.checkAbsent(key)
            return try engine.admitting(0) { () throws(FileSystemError) in
                OpenFile(try engine.files.open(StorePaths.temporary(name), .create), engine.files)
            }
        }
        return FileObjectWriter(file, name: name, key: key, use: use, engine)
    }

    public func sync() async throws(ObjectStoreError) { try await engine.sync() }
}
