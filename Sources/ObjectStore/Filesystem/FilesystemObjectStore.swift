public import Logging
import Runtime

/// Objects in a directory, for one process at a time.
///
/// Small objects lie as plain files under `objects/`, next to a journal that makes them durable in order. `StoreEngine`
/// says how.
public final class FilesystemObjectStore: ObjectStore {
    public struct Options: Sendable {
        /// A journal segment's size in bytes.
        public var segmentBytes = 8 << 20
        /// Segments that may wait for the tree; at their number changes wait.
        public var segments = 4
        /// Space given up when the disk is full, in bytes; 0 for none.
        public var reserveBytes = 32 << 20
        /// How many bytes and objects may wait to be flushed and applied, in memory.
        public var pendingBytes = 16 << 20
        public var pendingObjects = 8192
        /// After this time changes are flushed even if nobody waits for it.
        public var flushDelay = Duration.seconds(1)
        /// Nanoseconds since 1970.
        public var now: @Sendable () -> Int64 = SystemClock.now

        public init() {}
    }

    let engine: StoreEngine

    /// Opens a directory, which is made if it is not there, in milliseconds whatever it holds.
    /// - Throws: `.owned` if another process has it; `.permission`, `.full`; `.io` if its journal is damaged.
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

    /// A store that was not closed is left as by a crash.
    deinit { engine.abandon() }

    /// Makes everything durable, brings the tree up to date and gives the directory up. Later calls fail with
    /// `.cancelled`; open readers go on.
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
