import OCI
import ObjectStore

/// The digests that repositories' manifests and droplets' records named when a collection last read them:
/// `collection/references/<id>` and `collection/droplets/<id>`. The next collection reads only what changed since.
///
/// A droplet's entry is valid as long as its record has the same version, since it says what that record's bytes say.
/// A repository's entry is valid as long as its marker has the same version. Whoever adds or removes a manifest renews
/// the marker first, and an entry is only made from a marker so old that no writer relies on it any more: see
/// `Registry.renewMarker`. Entries are sorted by marker and grouped into frames with a checksum: a header of 44 bytes
/// with magic (8), length of the entries (4) and their SHA-256 (32), then the entries. At an invalid frame the index
/// ends. The index only saves time: what is not in it is read again.
enum ReferenceIndex {
    /// What an index is about, with the folder of its objects.
    enum Subject: String { case repositories = "collection/references/", droplets = "collection/droplets/" }

    /// The digit is the format's number. An index of format 1 is not used: it may have been made from markers of before
    /// a server's start, on which writers still relied.
    static let magic = Array("CSTNREF2".utf8)
    static let headerSize = 44
    /// The size of a frame's entries, approximately, in bytes.
    static let targetSize = 256 << 10
    /// The largest entry, in bytes; a repository with a larger one is left out of the index.
    static let maximumEntry = 64 << 20

    /// All indexes, the newest first. There is more than one only if collectors run at the same time, or after a crash.
    static func list(
        _ subject: Subject, in store: any ObjectStore
    ) async throws(ObjectStoreError) -> [ObjectKey] {
        try await store.list(prefix: subject.rawValue, startAfter: nil, limit: 100).sorted { $0.modified > $1.modified }
            .map(\.key)
    }

    fileprivate static func checksum(_ entries: [UInt8]) -> [UInt8] {
        var hasher = DigestHasher(.sha256)
        hasher.update(entries)
        return hasher.bytes()
    }
}

/// Reads an index from its beginning to its end.
struct ReferenceIndexReader {
    private let object: (any ObjectReader)?
    private var offset: Int64 = 0
    private var entries: ArraySlice<IndexedReferences> = []
    private var isAtEnd = false
    /// Markers of entries that were passed over, since nobody asked for them.
    private var passed: [String] = []

    /// - Parameter key: nil for an empty index.
    init(_ key: ObjectKey?, in store: any ObjectStore) async {
        // If another collector has deleted the index since it was listed, all repositories are read.
        guard let key else {
            object = nil
            return
        }
        object = try? await store.open(key)
    }

    /// The entry of a marker at this version; nil if there is none. Call it with markers in ascending order.
    mutating func entry(of marker: String, _ version: ObjectVersion) async -> IndexedReferences? {
        while true {
            while let entry = entries.first {
                if marker.utf8.lexicographicallyPrecedes(entry.marker.utf8) { return nil }
                entries.removeFirst()
                guard entry.marker == marker else {
                    passed.append(entry.marker)
                    continue
                }
                return entry.version == version ? entry : nil
            }
            guard !isAtEnd, let next = await frame() else {
                isAtEnd = true
                return nil
            }
            entries = next[...]
        }
    }

    /// The markers of the entries before the last one asked for that nobody has asked for: the repositories had a marker
    /// when the index was made, and have none now. Each is given once.
    mutating func takePassed() -> [String] {
        defer { passed = [] }
        return passed
    }

    /// Passes over all entries that are left, up to the index's next page.
    /// - Returns: whether there was one.
    mutating func passPage() async -> Bool {
        if entries.isEmpty { entries = await frame()?[...] ?? [] }
        passed += entries.map(\.marker)
        defer { entries = [] }
        return !entries.isEmpty
    }

    private mutating func frame() async -> [IndexedReferences]? {
        guard let object, let header = await read(ReferenceIndex.headerSize, object),
            header.starts(with: ReferenceIndex.magic)
        else { return nil }
        let (size, checksum): (UInt32?, [UInt8]?) = header.withRawBytes { bytes in
            var reader = ByteReader(UnsafeRawBufferPointer(rebasing: bytes[ReferenceIndex.magic.count...]))
            return (reader.integer(UInt32.self), reader.bytes(32))
        }
        guard let size, size <= ReferenceIndex.targetSize + ReferenceIndex.maximumEntry,
            let payload = await read(Int(size), object),
            checksum == ReferenceIndex.checksum(payload)
        else { return nil }
        return payload.withRawBytes { bytes in
            var reader = ByteReader(bytes)
            var entries: [IndexedReferences] = []
            while !reader.isAtEnd {
                guard let entry = IndexedReferences(from: &reader) else { return nil }
                entries.append(entry)
            }
            return entries
        }
    }

    /// - Returns: nil if the object has fewer bytes.
    private mutating func read(_ count: Int, _ object: any ObjectReader) async -> [UInt8]? {
        var bytes: [UInt8] = []
        while bytes.count < count {
            guard let more = try? await object.read(at: offset, maximum: count - bytes.count), !more.isEmpty
            else { return nil }
            bytes += more
            offset += Int64(more.count)
        }
        return bytes
    }

    func close() async { await object?.close() }
}

/// Writes an index.
struct ReferenceIndexWriter {
    private let object: any ObjectWriter
    private var pending: [UInt8] = []

    init(_ subject: ReferenceIndex.Subject, in store: any ObjectStore) async throws(ObjectStoreError) {
        var generator = SystemRandomNumberGenerator()
        let id = String(generator.next() as UInt64, radix: 16)
        object = try await store.writer(for: try ObjectKey(subject.rawValue + id), use: .rarely)
    }

    /// Adds an entry. Call it with markers in ascending order.
    mutating func append(_ entry: IndexedReferences) async throws(ObjectStoreError) {
        guard entry.encodedSize <= ReferenceIndex.maximumEntry else { return }
        entry.encode(into: &pending)
        if pending.count >= ReferenceIndex.targetSize { try await flush() }
    }

    private mutating func flush() async throws(ObjectStoreError) {
        guard !pending.isEmpty else { return }
        var frame = ReferenceIndex.magic
        frame.reserveCapacity(ReferenceIndex.headerSize + pending.count)
        frame.append(integer: UInt32(truncatingIfNeeded: pending.count))
        frame.append(contentsOf: ReferenceIndex.checksum(pending))
        frame.append(contentsOf: pending)
        pending.removeAll(keepingCapacity: true)
        try await object.write(frame)
    }

    /// Writes the last frame. Durable on return.
    mutating func finish() async throws(ObjectStoreError) {
        try await flush()
        _ = try await object.finish()
    }

    func abort() async { await object.abort() }
}

/// Replaces the existing indexes by a new one, if that has anything new.
///
/// Because the index only saves time, a collection goes on if the index can't be written to a full store.
struct ReferenceIndexUpdate {
    private let old: [ObjectKey]
    private let store: any ObjectStore
    private var writer: ReferenceIndexWriter?
    /// Whether any repository, or any droplet's record, was read again.
    var hasChanged = false

    init(
        _ subject: ReferenceIndex.Subject, replacing old: [ObjectKey], in store: any ObjectStore
    ) async throws(ObjectStoreError) {
        self.old = old
        self.store = store
        do { writer = try await ReferenceIndexWriter(subject, in: store) } catch { try Self.check(error) }
    }

    mutating func append(_ entry: IndexedReferences) async throws(ObjectStoreError) {
        do { try await writer?.append(entry) } catch {
            await abort()
            try Self.check(error)
        }
    }

    mutating func finish() async throws(ObjectStoreError) {
        guard hasChanged else { return await abort() }
        do throws(ObjectStoreError) {
            guard writer != nil else { return }
            try await writer?.finish()
            for key in old { try await store.delete(key, ifVersion: nil) }
        } catch { try Self.check(error) }
    }

    mutating func abort() async {
        await writer?.abort()
        writer = nil
    }

    private static func check(_ error: ObjectStoreError) throws(ObjectStoreError) {
        guard case .full = error else { throw error }
    }
}

/// The manifests of a repository and all that they name, read at one version of the repository's marker; or what a
/// droplet's record names at one version of it.
struct IndexedReferences: Hashable, Sendable {
    /// The last component of the marker's key; `<guid>/<sha256>` of a droplet.
    let marker: String
    /// The marker's version before the manifests were read; the version of a droplet's record.
    let version: ObjectVersion
    /// `DigestSet` keys, in ascending order, each once.
    let keys: [UInt64]

    init(marker: String, version: ObjectVersion, keys: [UInt64]) {
        self.marker = marker
        self.version = version
        var unique: [UInt64] = []
        unique.reserveCapacity(keys.count)
        for key in keys.sorted() where key != unique.last { unique.append(key) }
        self.keys = unique
    }

    /// In bytes.
    var encodedSize: Int { 8 + marker.utf8.count + version.token.utf8.count + 8 * keys.count }

    /// Length of the marker's name (2), name, length of the version (2), version, number of keys (4), keys (8 each).
    /// Little-endian.
    func encode(into bytes: inout [UInt8]) {
        for text in [marker, version.token] {
            bytes.append(integer: UInt16(truncatingIfNeeded: text.utf8.count))
            bytes.append(contentsOf: text.utf8)
        }
        bytes.append(integer: UInt32(truncatingIfNeeded: keys.count))
        for key in keys { bytes.append(integer: key) }
    }

    /// Decodes an entry; nil if the bytes are not a valid one.
    init?(from reader: inout ByteReader) {
        guard let marker = reader.integer(UInt16.self).flatMap({ reader.text(Int($0)) }),
            let token = reader.integer(UInt16.self).flatMap({ reader.text(Int($0)) }),
            let count = reader.integer(UInt32.self), let keys = reader.unsignedIntegers(Int(count))
        else { return nil }
        self.marker = marker
        self.version = ObjectVersion(token: token)
        self.keys = keys
    }
}
