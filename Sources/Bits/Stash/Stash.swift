import Archive
import Blobs
package import OCI
package import ObjectStore
package import Records
import Runtime
import Synchronization

/// Which files are kept to be merged into packages, and for how long.
public struct StashRules: Sendable {
    /// The sizes of files that are kept, and match, in bytes.
    public var sizes: ClosedRange<Int64>
    /// How long a file stays that nobody used, in nanoseconds; nil: for ever.
    public var lifetime: Int64?

    public init(sizes: ClosedRange<Int64> = (64 << 10)...(512 << 20), lifetime: Int64? = nil) {
        self.sizes = sizes
        self.lifetime = lifetime
    }

    /// For how long before its end a file does not match any more, so that one which matched is still there when the
    /// package comes that needs it.
    var margin: Int64 { (lifetime ?? 0) / 4 }
}

/// Files of packages, found by SHA-1 and size, so that clients send only what is not here: resource matching.
///
/// The names and sizes of all files are in memory, about 120 bytes each, so that a match reads nothing: they are listed
/// when they are first needed, and this process is the store's only writer. Of two files with one SHA-1 (which can be
/// made) the first one counts: nobody replaces what others were told is here.
public final class Stash: Sendable {
    private struct Entry {
        let size: Int64
        let digest: Digest
        /// When it was last used, about: in nanoseconds since 1970.
        var used: Int64
    }

    /// How old a use may be before a new one is noted, in nanoseconds.
    private static let usedInterval: Int64 = 86_400_000_000_000
    /// Up to this size a file is read and written whole, in bytes.
    static let small: Int64 = 1 << 20

    let records: RecordStore<BitsError>
    let blobs: BlobStore
    let rules: StashRules
    private let now: @Sendable () -> Int64
    private let entries = Mutex<[SHA1: Entry]?>(nil)
    private let loading = SingleFlight<Bool, Bool>()

    init(records: RecordStore<BitsError>, blobs: BlobStore, rules: StashRules, now: @escaping @Sendable () -> Int64) {
        self.records = records
        self.blobs = blobs
        self.rules = rules
        self.now = now
    }

    package static let folder = RecordFolder(
        StashRecord.folder,
        [RecordKind("file of the stash", StashRecord.self) { StashRecord($0) != nil }])

    // MARK: matching

    /// Which of these files are here.
    /// - Returns: for each of them, in their order.
    public func match(_ files: [StashedFile]) async throws(BitsError) -> [Bool] {
        try await load()
        let time = now()
        return entries.withLock { entries in
            files.map { file in
                guard let size = file.size, rules.sizes.contains(size), let entry = entries?[file.sha1],
                    entry.size == size
                else {
                    return false
                }
                return rules.lifetime.map { time - entry.used < $0 - rules.margin } ?? true
            }
        }
    }

    private func load() async throws(BitsError) {
        if entries.withLock({ $0 != nil }) { return }
        _ = try await loading.value(for: true) { () throws(BitsError) in
            if entries.withLock({ $0 != nil }) { return true }
            var found: [SHA1: Entry] = [:]
            try await forEach { info, file in
                if let other = found[file.sha1], other.used <= info.modified { return }
                found[file.sha1] = Entry(size: file.size, digest: file.digest, used: info.modified)
            }
            entries.withLock { entries in if entries == nil { entries = found } }
            return true
        }
    }

    private func forEach(
        in reading: (any ObjectStore)? = nil, _ body: (ObjectInfo, StashRecord) async throws(BitsError) -> Void
    ) async throws(BitsError) {
        var after: String?
        while true {
            if Task.isCancelled { throw .cancelled }
            let page = try await BitsError.ofStore(
                await (reading ?? records.store).list(prefix: StashRecord.folder, startAfter: after, limit: 8192))
            for info in page {
                if let file = StashRecord(info.key) { try await body(info, file) }
            }
            guard page.count == 8192, let last = page.last else { return }
            after = last.key.text
        }
    }

    // MARK: files

    /// The blob of a file. Its use is noted.
    /// - Throws: `.unknownResource`.
    func find(_ file: StashedFile) async throws(BitsError) -> StashRecord {
        try await load()
        guard let entry = entries.withLock({ $0?[file.sha1] }), entry.size == file.size ?? entry.size else {
            throw .unknownResource(file.sha1.description)
        }
        let record = StashRecord(sha1: file.sha1, size: entry.size, digest: entry.digest)
        if now() - entry.used > Self.usedInterval { try await keep(record) }
        return record
    }

    /// Keeps a small file, unless it is here. Not durable before the store's next `sync()`.
    func add(_ bytes: [UInt8], _ sha1: SHA1) async throws(BitsError) {
        guard try await isMissing(sha1, Int64(bytes.count)) else { return }
        let blob = try await BitsError.ofBlobs(await blobs.put(bytes))
        try await keep(StashRecord(sha1: sha1, size: blob.size, digest: blob.digest))
    }

    /// Whether a file of this size is to be kept, and is not here or about to go.
    func isMissing(_ sha1: SHA1, _ size: Int64) async throws(BitsError) -> Bool {
        guard rules.sizes.contains(size) else { return false }
        return try await !match([StashedFile(sha1: sha1, size: size)])[0]
    }

    /// Writes a file's record. Not durable before the store's next `sync()`.
    func keep(_ record: StashRecord) async throws(BitsError) {
        guard try await BitsError.ofBlobs(await blobs.renewIfOld(record.digest)) != nil else {
            throw .unknownResource(record.sha1.description)
        }
        try await records.write(record, at: try record.key)
        remember(record)
    }

    private func remember(_ record: StashRecord) {
        entries.withLock { $0?[record.sha1] = Entry(size: record.size, digest: record.digest, used: now()) }
    }

    // MARK: maintenance

    /// Removes the files that nobody used for their lifetime.
    /// - Returns: how many there are.
    package func retire(isDryRun: Bool, in reading: any ObjectStore) async throws(BitsError) -> Int {
        guard let lifetime = rules.lifetime else { return 0 }
        let time = now()
        var count = 0
        try await forEach(in: reading) { (info, file) throws(BitsError) in
            guard time - info.modified >= lifetime else { return }
            count += 1
            guard !isDryRun else { return }
            entries.withLock { entries in
                if entries?[file.sha1]?.digest == file.digest { entries?[file.sha1] = nil }
            }
            // One that was used meanwhile has another version, and stays.
            if try await !records.remove(info.key, version: info.version) { remember(file) }
        }
        if count > 0, !isDryRun { try await records.sync() }
        return count
    }

    /// Calls a body with the blobs of all files and their sizes, some at a time.
    /// - Parameter reading: a store without a cache, since the walk would evict what is in use.
    package func forEachBlob(
        in reading: any ObjectStore, _ body: ([(digest: Digest, size: Int64)]) -> Void
    ) async throws(BitsError) {
        var batch: [(digest: Digest, size: Int64)] = []
        try await forEach(in: reading) { _, file in
            batch.append((file.digest, file.size))
            if batch.count == 1000 {
                body(batch)
                batch = []
            }
        }
        body(batch)
    }
}
