/// Objects under keys, each written whole and atomically: the one place where Cistern keeps its state.
///
/// The contract that every driver keeps (and that the shared suite in `ObjectStoreTesting` checks):
///
/// - A reader sees an object's old bytes or its new ones, never a part. What a `put`, `delete` or finished writer did
///   is seen by every later call.
/// - Conditions are checked and the change made as one step: of several writers with the same condition one wins, and
///   the others fail with `.exists` or `.changed`.
/// - Small objects become durable **in the order they were written**: after a power cut the store is what it was after
///   some prefix of the completed `put`s and `delete`s. `sync()` returns once everything that completed before it was
///   called will survive. A request therefore writes its facts in the order in which they depend on one another and
///   calls `sync()` once.
/// - A streamed object (`writer(for:)`) is durable when `finish()` returns, so a small object that names it may be
///   written right after.
/// - Where a driver can't order writes it makes each one durable before it returns, and `sync()` does nothing.
/// - A key and a longer key that continues it with `/` can't both exist: the second write fails with `.invalidKey`.
/// - An operation that fails with an error changed nothing that a reader can see, `.io` excepted: there the caller
///   reads back what is there.
public protocol ObjectStore: Sendable {
    /// Writes a small object, at most `ObjectLimits.smallObject` bytes.
    /// - Throws: `.exists`, `.changed` or `.missing` as the condition says; `.full`, `.permission`, `.io`,
    ///   `.tooLarge`, `.invalidKey`.
    @discardableResult
    func put(_ key: ObjectKey, _ bytes: [UInt8], if condition: PutCondition) async throws(ObjectStoreError)
        -> ObjectVersion

    /// Reads a small object whole.
    /// - Throws: `.missing`; `.tooLarge` for objects over `ObjectLimits.smallObject`, which are read through `open`.
    func get(_ key: ObjectKey) async throws(ObjectStoreError) -> StoredObject

    /// What is known of an object without reading it.
    /// - Throws: `.missing`.
    func head(_ key: ObjectKey) async throws(ObjectStoreError) -> ObjectInfo

    /// Removes an object. Removing what is not there is no error.
    /// - Parameter version: if given, only this version is removed; `.changed` or `.missing` otherwise.
    func delete(_ key: ObjectKey, ifVersion version: ObjectVersion?) async throws(ObjectStoreError)

    /// Keys that begin with a prefix, in the byte order of the whole key.
    /// - Parameters:
    ///   - prefix: any beginning of a key, the empty one included; it need not end at a `/`.
    ///   - startAfter: only keys that sort after this text.
    ///   - limit: at most this many keys (1 or more).
    func list(prefix: String, startAfter: String?, limit: Int) async throws(ObjectStoreError) -> [ObjectInfo]

    /// The distinct first components that follow a prefix, in their own byte order, whether an object or a folder;
    /// `startAfter` and `limit` as in `list`, counted in components.
    /// - Parameter prefix: empty or ending with `/`; `.invalidKey` otherwise.
    func listComponents(below prefix: String, startAfter: String?, limit: Int) async throws(ObjectStoreError)
        -> [String]

    /// Opens an object for reading ranges of it. What was opened stays readable even if it is deleted meanwhile.
    /// - Throws: `.missing`.
    func open(_ key: ObjectKey) async throws(ObjectStoreError) -> any ObjectReader

    /// Begins a streamed object of any size under a new key. Nothing is visible before `finish()`.
    /// - Throws: `.exists`, `.invalidKey` if the key can't be a new one.
    func writer(for key: ObjectKey, use: ObjectUse) async throws(ObjectStoreError) -> any ObjectWriter

    /// Copies an object inside the store, `.exists` if the target is there.
    func copy(_ source: ObjectKey, to target: ObjectKey) async throws(ObjectStoreError)

    /// A URL by which everybody who has it can read an object with GET, whole or a range of it, without any more
    /// credentials: it is a secret, and its query in no log.
    /// - Parameter lifetime: how long it is good for; a transfer that began goes on.
    /// - Returns: nil if the store can't, which is what a store does that says nothing about it. Whether the object is
    ///   there is not asked.
    func presignedURL(for key: ObjectKey, lifetime: Duration) async throws(ObjectStoreError) -> String?

    /// Returns once all that completed before this call is durable (group commit: callers share one flush).
    func sync() async throws(ObjectStoreError)
}

extension ObjectStore {
    public func presignedURL(for key: ObjectKey, lifetime: Duration) async throws(ObjectStoreError) -> String? { nil }

    /// Begins a streamed object that is read before long.
    public func writer(for key: ObjectKey) async throws(ObjectStoreError) -> any ObjectWriter {
        try await writer(for: key, use: .soon)
    }
}

/// What becomes of an object after it was written: a hint.
public enum ObjectUse: Hashable, Sendable {
    /// It is read before long: memory that holds it is well used.
    case soon
    /// It is kept, and hardly ever read: it must not push anything out of memory.
    case rarely
}

/// When a `put` may happen.
public enum PutCondition: Hashable, Sendable {
    case always
    /// Only if there is no such object: `.exists` otherwise.
    case absent
    /// Only over this version: `.changed` otherwise, `.missing` if the object is gone.
    case version(ObjectVersion)
}

/// An opaque token that changes whenever an object's bytes change.
public struct ObjectVersion: Hashable, Sendable {
    public let token: String
    public init(token: String) { self.token = token }
}

public struct ObjectInfo: Hashable, Sendable {
    public let key: ObjectKey
    /// In bytes.
    public let size: Int64
    public let version: ObjectVersion
    /// The store's clock when the object was written, in nanoseconds since 1970.
    public let modified: Int64

    public init(key: ObjectKey, size: Int64, version: ObjectVersion, modified: Int64) {
        self.key = key
        self.size = size
        self.version = version
        self.modified = modified
    }
}

public struct StoredObject: Hashable, Sendable {
    public let info: ObjectInfo
    public let bytes: [UInt8]

    public init(info: ObjectInfo, bytes: [UInt8]) {
        self.info = info
        self.bytes = bytes
    }
}

public enum ObjectLimits {
    /// The largest object that `put` and `get` take, in bytes: 8 MiB.
    public static let smallObject = 8 << 20
}

/// An open object.
public protocol ObjectReader: Sendable {
    var info: ObjectInfo { get }

    /// Bytes from an offset on, at most `maximum` of them; empty only at or after the end.
    func read(at offset: Int64, maximum: Int) async throws(ObjectStoreError) -> [UInt8]

    /// The file that holds the object's bytes from offset 0 on, for sendfile; nil where there is none. The descriptor
    /// stays open and owned by this reader: duplicate it to keep it longer.
    var fileDescriptor: Int32? { get }

    /// Gives up the object's resources. Nothing may be read after it; calling it again does nothing.
    func close() async
}

/// A streamed object being written. Exactly one of `finish` and `abort` ends it; one that is dropped is aborted.
public protocol ObjectWriter: Sendable {
    /// Appends bytes, slowing its caller down to what the store takes. They may be gathered: what goes wrong with them
    /// may be told by a later call, at the latest by `finish`.
    func write(_ bytes: [UInt8]) async throws(ObjectStoreError)

    /// Makes the object durable and then visible. Callers share flushes.
    /// - Throws: `.exists`, `.invalidKey` if the key was written meanwhile, or one above or below it. After `.io` the
    ///   object may yet appear, whole, or never.
    func finish() async throws(ObjectStoreError) -> ObjectInfo

    /// Removes what was written.
    func abort() async
}
