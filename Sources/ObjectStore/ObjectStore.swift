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
/// - A driver may refuse, with `.invalidKey`, a key that continues another object's key with `/`, and the reverse:
///   callers must not use both.
/// - An operation that fails changed nothing that a reader can see, except for `.unknown`: then the change may have
///   been made, or may be made yet. A caller that gets `.unknown` reads the object back before it undoes or discards
///   anything.
/// - `capabilities` says what a driver can do beyond this contract.
public protocol ObjectStore: Sendable {
    /// What this store can do beyond the contract.
    var capabilities: ObjectStoreCapabilities { get }

    /// The same objects without this store's cache, for reads of what is not read again soon, which would displace what
    /// is. Nothing may be written through it, since the cache would not learn of that.
    var uncached: any ObjectStore { get }

    /// Writes a small object, at most `ObjectLimits.smallObject` bytes.
    /// - Throws: `.exists`, `.changed` or `.missing` as the condition says; `.full`, `.permission`, `.io`,
    ///   `.unknown`, `.tooLarge`, `.invalidKey`.
    @discardableResult
    func put(_ key: ObjectKey, _ bytes: [UInt8], if condition: PutCondition) async throws(ObjectStoreError)
        -> ObjectVersion

    /// Reads a small object whole.
    /// - Throws: `.missing`; `.tooLarge` for objects over `ObjectLimits.smallObject`, which are read through `open`.
    func get(_ key: ObjectKey) async throws(ObjectStoreError) -> StoredObject

    /// Reads small objects whole: many at once cost less than one after the other.
    /// - Returns: the objects in the order of their keys; nil for each missing one.
    /// - Throws: what `get` throws, except for `.missing`, for the first key that fails.
    func get(_ keys: [ObjectKey]) async throws(ObjectStoreError) -> [StoredObject?]

    /// Reads a small object whole, never from a cache that may be out of date: for callers that decide by it what to
    /// write.
    /// - Throws: as `get` does.
    func getNow(_ key: ObjectKey) async throws(ObjectStoreError) -> StoredObject

    /// An object's size, version and time, without reading its bytes.
    /// - Throws: `.missing`.
    func head(_ key: ObjectKey) async throws(ObjectStoreError) -> ObjectInfo

    /// Removes an object. Removing what is not there is no error.
    /// - Parameter version: if given, only this version is removed; `.changed` or `.missing` otherwise. Without the
    ///   capability `conditionalDelete`, checking the version and removing the object are two steps.
    func delete(_ key: ObjectKey, ifVersion version: ObjectVersion?) async throws(ObjectStoreError)

    /// Keys that begin with a prefix, in the byte order of the whole key.
    /// - Parameters:
    ///   - prefix: any beginning of a key, the empty one included; it need not end at a `/`.
    ///   - startAfter: only keys that sort after this text.
    ///   - limit: at most this many keys (1 or more); fewer only if there are no more.
    func list(prefix: String, startAfter: String?, limit: Int) async throws(ObjectStoreError) -> [ObjectInfo]

    /// The distinct first components that follow a prefix, whether they name an object or a folder. Their order is the
    /// store's own, and the same on each page.
    /// - Parameters:
    ///   - prefix: empty or ending with `/`; `.invalidKey` otherwise.
    ///   - startAfter: the last component of the page before.
    ///   - limit: at most this many components; fewer only if there are no more.
    func listComponents(below prefix: String, startAfter: String?, limit: Int) async throws(ObjectStoreError)
        -> [String]

    /// Opens an object for reading ranges of it. What was opened stays readable even if it is deleted meanwhile.
    /// - Throws: `.missing`.
    func open(_ key: ObjectKey) async throws(ObjectStoreError) -> any ObjectReader

    /// Begins a streamed object of any size under a new key. Nothing is visible before `finish()`.
    /// - Throws: `.exists`.
    func writer(for key: ObjectKey, use: ObjectUse) async throws(ObjectStoreError) -> any ObjectWriter

    /// A URL that lets anybody GET an object or a range of it without further credentials: it is a secret, and its
    /// query must not be logged.
    /// - Parameter lifetime: how long the URL is valid; a transfer that has begun goes on.
    /// - Returns: nil without the capability `presign`. A URL does not mean that the object exists.
    func presignedURL(for key: ObjectKey, lifetime: Duration) async throws(ObjectStoreError) -> String?

    /// Returns once all that completed before this call is durable (group commit: callers share one flush).
    func sync() async throws(ObjectStoreError)
}

extension ObjectStore {
    public var capabilities: ObjectStoreCapabilities { ObjectStoreCapabilities() }

    public var uncached: any ObjectStore { self }

    /// A store without a cache reads the object each time, so `get` never gives an old copy.
    public func getNow(_ key: ObjectKey) async throws(ObjectStoreError) -> StoredObject { try await get(key) }

    public func presignedURL(for key: ObjectKey, lifetime: Duration) async throws(ObjectStoreError) -> String? { nil }

    /// Reads several objects at the same time where that is quicker (`concurrentReads`).
    public func get(_ keys: [ObjectKey]) async throws(ObjectStoreError) -> [StoredObject?] {
        guard capabilities.concurrentReads > 1, keys.count > 1 else {
            var objects: [StoredObject?] = []
            objects.reserveCapacity(keys.count)
            for key in keys { objects.append(try await find(key)) }
            return objects
        }
        return try await concurrently(keys)
    }

    private func find(_ key: ObjectKey) async throws(ObjectStoreError) -> StoredObject? {
        do { return try await get(key) } catch {
            if case .missing = error { return nil }
            throw error
        }
    }

    private func concurrently(_ keys: [ObjectKey]) async throws(ObjectStoreError) -> [StoredObject?] {
        typealias Outcome = Result<StoredObject?, ObjectStoreError>
        var outcomes = [Outcome](repeating: .success(nil), count: keys.count)
        await withTaskGroup(of: (Int, Outcome).self) { group in
            var next = 0
            func addNext() {
                guard next < keys.count else { return }
                let index = next
                next += 1
                group.addTask {
                    do throws(ObjectStoreError) { return (index, .success(try await find(keys[index]))) } catch {
                        return (index, .failure(error))
                    }
                }
            }
            for _ in 0..<capabilities.concurrentReads { addNext() }
            for await (index, outcome) in group {
                outcomes[index] = outcome
                if case .success = outcome { addNext() }
            }
        }
        var objects: [StoredObject?] = []
        for outcome in outcomes { objects.append(try outcome.get()) }
        return objects
    }

    /// Begins a streamed object that will be read soon.
    public func writer(for key: ObjectKey) async throws(ObjectStoreError) -> any ObjectWriter {
        try await writer(for: key, use: .soon)
    }
}

/// What a store can do beyond the contract that every driver keeps.
public struct ObjectStoreCapabilities: Hashable, Sendable {
    /// Only this process writes to the store, so what it read stays true until it changes it itself.
    public var exclusive: Bool
    /// `delete` checks the version and removes the object in one step. A store that can't must have a single writer.
    public var conditionalDelete: Bool
    /// `presignedURL` gives URLs.
    public var presign: Bool
    /// How many objects are worth reading at the same time: 1 where a read does not wait for a network.
    public var concurrentReads: Int

    public init(
        exclusive: Bool = false, conditionalDelete: Bool = true, presign: Bool = false, concurrentReads: Int = 1
    ) {
        self.exclusive = exclusive
        self.conditionalDelete = conditionalDelete
        self.presign = presign
        self.concurrentReads = concurrentReads
    }
}

/// A hint on how an object is used after it was written.
public enum ObjectUse: Hashable, Sendable {
    /// It is read soon, so it is worth keeping in the page cache.
    case soon
    /// It is hardly ever read, so it should not displace anything from the page cache.
    case rarely
}

/// The condition of a `put`.
public enum PutCondition: Hashable, Sendable {
    case always
    /// Only if there is no such object: `.exists` otherwise.
    case absent
    /// Only if the object is this version: `.changed` if it is another one, `.missing` if it is gone.
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

    /// The bytes of a range in order, up to the object's end, in pieces whose sizes the reader chooses: for callers
    /// that want most of an object. Iterate over it once only.
    func stream(_ range: Range<Int64>) -> ObjectByteStream

    /// Gives up the object's resources. Nothing may be read after it; calling it again does nothing.
    func close() async
}

/// An open object whose bytes are in a file from offset 0 on, for sendfile and mmap. Callers ask for it
/// (`reader as? any FileBackedReader`) and must be able to do without.
public protocol FileBackedReader: ObjectReader {
    /// Stays open and owned by this reader: duplicate it to keep it longer. nil once it is closed.
    var fileDescriptor: Int32? { get }
}

extension ObjectReader {
    public func stream(_ range: Range<Int64>) -> ObjectByteStream {
        let end = min(range.upperBound, info.size)
        return ObjectByteStream {
            var offset = max(range.lowerBound, 0)
            return { () async throws(ObjectStoreError) in
                guard offset < end else { return nil }
                let bytes = try await read(
                    at: offset, maximum: Int(min(end - offset, Int64(ObjectByteStream.pieceSize))))
                guard !bytes.isEmpty else { throw .io("\(info.key) is shorter than it was") }
                offset += Int64(bytes.count)
                return bytes
            }
        }
    }

    /// All bytes of the object.
    public var bytes: ObjectByteStream { stream(0..<max(info.size, 0)) }
}

/// Bytes of an open object, in order.
public struct ObjectByteStream: AsyncSequence, Sendable {
    /// Gives the next piece, at least a byte of it; nil at the end.
    public typealias Next = () async throws(ObjectStoreError) -> [UInt8]?
    /// How many bytes `stream` reads at a time unless a reader has its own way.
    static let pieceSize = 256 << 10

    private let begin: @Sendable () -> Next

    public init(_ begin: @escaping @Sendable () -> Next) { self.begin = begin }

    public func makeAsyncIterator() -> Iterator { Iterator(read: begin()) }

    public struct Iterator: AsyncIteratorProtocol {
        let read: Next

        public func next() async throws(ObjectStoreError) -> [UInt8]? { try await read() }
    }
}

/// A streamed object being written. Exactly one of `finish` and `abort` ends it; one that is dropped is aborted.
public protocol ObjectWriter: Sendable {
    /// Appends bytes, and returns when the store can take more. They may be buffered, so that an error with them is
    /// thrown by a later call, at the latest by `finish`.
    func write(_ bytes: [UInt8]) async throws(ObjectStoreError)

    /// Prepares for a pause: what was written is kept, without an open file or much memory. The next `write` goes on.
    func rest() async throws(ObjectStoreError)

    /// Makes the object durable and then visible. Callers share flushes.
    /// - Throws: `.exists` if the key was written meanwhile. After `.unknown` and `.full` the object may yet appear,
    ///   whole, or never.
    func finish() async throws(ObjectStoreError) -> ObjectInfo

    /// Ends the stream and removes the written bytes. Nothing becomes visible.
    func abort() async
}
