public import Blobs
public import ObjectStore
public import Rootfs
import Runtime

/// The droplets: uploaded once, converted once, found by app guid and hash.
public final class DropletCatalog: Sendable {
    /// How many droplets of one app are looked at. Retention keeps far fewer.
    static let maximumPerApp = 10_000

    let store: any ObjectStore
    let blobs: BlobStore
    let quotas: QuotaLedger
    let now: @Sendable () -> Int64
    /// An app's droplets, newest first.
    private let cache = BoundedCache<DropletGUID, [DropletRecord]>(maximumCost: 8 << 20)
    private let loading = SingleFlight<DropletGUID, [DropletRecord]>()
    let conversions: Limiter
    let tally = DropletTally()

    /// - Parameters:
    ///   - conversions: how many droplets are converted at the same time; the senders of others are made to wait.
    ///   - quotas: what repositories may hold; without it, all that there is room for.
    ///   - now: nanoseconds since 1970.
    public init(
        store: any ObjectStore, blobs: BlobStore, quotas: QuotaLedger = QuotaLedger(), conversions: Int,
        now: @escaping @Sendable () -> Int64
    ) {
        self.conversions = Limiter(conversions)
        self.store = store
        self.blobs = blobs
        self.quotas = quotas
        self.now = now
    }

    /// An app's droplets, newest first; empty if there are none.
    public func droplets(of guid: DropletGUID) async throws(ImageError) -> [DropletRecord] {
        if let records = cache.value(guid) { return records }
        return try await loading.value(for: guid) { () throws(ImageError) in
            if let records = cache.value(guid) { return records }
            let mark = cache.mark
            let records = try await load(guid)
            // That there is nothing is asked of the store each time.
            if !records.isEmpty {
                cache.insert(records, for: guid, cost: records.reduce(0) { $0 + $1.cost }, since: mark)
            }
            return records
        }
    }

    /// - Throws: `.unknownDroplet`.
    public func droplet(_ guid: DropletGUID, _ hash: DropletHash) async throws(ImageError) -> DropletRecord {
        let found = try await droplets(of: guid).first { record in
            switch hash {
            case .sha256(let hex): record.hash == hex
            case .sha1(let hex): record.sha1 == hex
            }
        }
        guard let found else { throw .unknownDroplet(guid: guid.text, hash: hash.description) }
        return found
    }

    /// Pages through all droplets in the order of their guids and hashes.
    /// - Parameter startAfter: where the last page ended.
    /// - Returns: the records, and where to go on; nil at the end, even if records went away meanwhile.
    public func list(
        startAfter: String?, limit: Int
    ) async throws(ImageError) -> (records: [DropletRecord], next: String?) {
        do {
            let page = try await store.list(
                prefix: DropletRecord.folder, startAfter: startAfter.map { DropletRecord.folder + $0 }, limit: limit)
            var records: [DropletRecord] = []
            for info in page {
                guard let record = try await read(info.key) else { continue }
                records.append(record)
            }
            let isOver = page.count < limit
            return (records, isOver ? nil : page.last.map { String($0.key.text.dropFirst(DropletRecord.folder.count)) })
        } catch let error as ImageError {
            throw error
        } catch let error as ObjectStoreError {
            throw .store(error)
        } catch { throw .input(error) }
    }

    /// Opens the bytes that were uploaded.
    public func original(_ record: DropletRecord) async throws(ImageError) -> OpenBlob {
        do { return try await blobs.open(record.content.digest) } catch { throw .blob(error) }
    }

    /// Forgets a droplet, durably. Its bytes go with the next garbage collection, if nothing else names them.
    /// - Throws: `.unknownDroplet`.
    public func remove(_ guid: DropletGUID, _ hash: DropletHash) async throws(ImageError) {
        let record = try await droplet(guid, hash)
        defer { cache.remove(guid) }
        do {
            try await store.delete(try DropletRecord.key(guid, record.hash), ifVersion: nil)
            cache.remove(guid)
            tally.removed(record)
            quotas.removed()
            try await store.sync()
        } catch { throw .store(error) }
    }

    /// Writes a record down unless there is one, which then stays as it is. Not durable before `sync()`.
    /// - Parameter room: holds the record's bytes.
    func keep(_ record: DropletRecord, _ room: DropletRoom) async throws(ImageError) -> DropletRecord {
        for other in try await droplets(of: record.guid)
        where other.sha1 == record.sha1 && other.hash != record.hash {
            throw .aliasTaken(guid: record.guid.text, sha1: record.sha1)
        }
        let key: ObjectKey
        do { key = try DropletRecord.key(record.guid, record.hash) } catch { throw .store(error) }
        defer { cache.remove(record.guid) }
        do {
            _ = try await store.put(key, record.bytes, if: .absent)
            room.commit(record)
            tally.added(record)
            return record
        } catch .exists {
            return try await read(key) ?? record
        } catch { throw .store(error) }
    }

    private func load(_ guid: DropletGUID) async throws(ImageError) -> [DropletRecord] {
        var records: [DropletRecord] = []
        let page: [ObjectInfo]
        do {
            page = try await store.list(
                prefix: DropletRecord.folder(guid), startAfter: nil, limit: Self.maximumPerApp)
        } catch { throw .store(error) }
        for info in page {
            guard let record = try await read(info.key) else { continue }
            records.append(record)
        }
        return records.sorted { ($1.uploaded, $1.hash) < ($0.uploaded, $0.hash) }
    }

    private func read(_ key: ObjectKey) async throws(ImageError) -> DropletRecord? {
        let object: StoredObject
        do { object = try await store.get(key) } catch .missing { return nil } catch { throw .store(error) }
        let parts = key.text.dropFirst(DropletRecord.folder.count).split(separator: "/")
        guard parts.count == 2 else { throw .damaged(key) }
        return try DropletRecord(parsing: object.bytes, guid: try DropletGUID(parts[0]), at: key)
    }
}

extension DropletRecord {
    /// Roughly the bytes it takes in memory.
    var cost: Int { 768 + content.layers.count * 384 }
}
