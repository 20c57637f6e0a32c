public import Blobs
public import ObjectStore
public import Records
public import Rootfs
import Runtime

/// The droplets: uploaded once, converted once, found by app guid and hash.
public final class DropletCatalog: Sendable {
    /// The most droplets of one app that are read. Retention keeps far fewer.
    static let maximumPerApp = 10_000

    let records: RecordStore<ImageError>
    let blobs: BlobStore
    let quotas: QuotaLedger
    let now: @Sendable () -> Int64
    /// An app's droplets, newest first.
    private let cache = BoundedCache<DropletGUID, [DropletRecord]>(maximumCost: 8 << 20)
    private let loading = SingleFlight<DropletGUID, [DropletRecord]>()
    let conversions: Limiter
    let tally = DropletTally()
    private let appList = AppList()

    /// - Parameters:
    ///   - conversions: how many droplets are converted at the same time; the senders of further ones wait.
    ///   - quotas: limits what repositories hold; by default nothing does.
    ///   - unreadable: collects the records that can't be read.
    ///   - now: nanoseconds since 1970.
    public init(
        store: any ObjectStore, blobs: BlobStore, quotas: QuotaLedger = QuotaLedger(), conversions: Int,
        unreadable: UnreadableRecords = UnreadableRecords(), now: @escaping @Sendable () -> Int64
    ) {
        self.conversions = Limiter(conversions)
        records = RecordStore(store, unreadable: unreadable)
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
            // Absence is not cached: another process may upload the app's first droplet.
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
    /// - Parameter startAfter: `next` of the previous page; nil for the first page.
    /// - Returns: the records, and where the next page begins, nil after the last; a page may be short because a record
    ///   was removed meanwhile or can't be read.
    public func list(
        startAfter: String?, limit: Int
    ) async throws(ImageError) -> (records: [DropletRecord], next: String?) {
        let page = try await records.list(
            DropletRecord.folder, after: startAfter.map { DropletRecord.folder + $0 }, limit: limit)
        let last = page.count < limit ? nil : page.last
        return (
            try await records.readable(page), last.map { String($0.text.dropFirst(DropletRecord.folder.count)) }
        )
    }

    /// The guids of apps that have droplets, in byte order, without reading a droplet.
    public func apps(after guid: String?, limit: Int) async throws(ImageError) -> [String] {
        try await appList.names(after: guid, limit: limit) { (after, limit) throws(ImageError) in
            try await records.listComponents(below: DropletRecord.folder, after: after, limit: limit)
        }
    }

    /// Whether an app has a droplet of a kind. Droplets are read until one is found, and not kept in memory, since lists
    /// of all apps ask this.
    public func hasDroplet(
        of guid: DropletGUID, where isWanted: (DropletRecord) -> Bool
    ) async throws(ImageError) -> Bool {
        var after: String?
        while true {
            let page = try await records.list(DropletRecord.folder(guid), after: after, limit: 16)
            for key in page {
                if let droplet = try await records.readable(key, as: DropletRecord.self)?.value, isWanted(droplet) {
                    return true
                }
            }
            guard page.count == 16 else { return false }
            after = page.last?.text
        }
    }

    /// The records of droplets and of their conversions.
    package static let folders = [
        RecordFolder(DropletRecord.folder, [RecordKind("droplet", DropletRecord.self)]),
        RecordFolder(DropletConversion.folder, [RecordKind("conversion", DropletConversion.self)]),
    ]

    /// Opens the bytes that were uploaded.
    public func original(_ record: DropletRecord) async throws(ImageError) -> OpenBlob {
        try await ImageError.ofBlobs(await blobs.open(record.content.digest))
    }

    /// Removes a droplet's record, durably. The next garbage collection deletes its bytes if nothing else refers to
    /// them.
    /// - Throws: `.unknownDroplet`.
    public func remove(_ guid: DropletGUID, _ hash: DropletHash) async throws(ImageError) {
        let record = try await removable(guid, hash)
        defer {
            cache.remove(guid)
            appList.forget()
        }
        try await records.remove(record.key)
        cache.remove(guid)
        if let droplet = record.droplet { tally.removed(droplet) }
        quotas.removed()
        try await records.sync()
    }

    /// The record of a droplet to remove. A record that can't be read is found by the droplet's SHA-256 only.
    private func removable(
        _ guid: DropletGUID, _ hash: DropletHash
    ) async throws(ImageError) -> (key: ObjectKey, droplet: DropletRecord?) {
        do {
            let droplet = try await droplet(guid, hash)
            return (try DropletRecord.key(guid, droplet.hash), droplet)
        } catch {
            guard case .unknownDroplet = error, case .sha256(let hex) = hash,
                case .unreadable(let record) = try await records.find(
                    try DropletRecord.key(guid, hex), as: DropletRecord.self)
            else { throw error }
            return (record.key, nil)
        }
    }

    /// Removes, durably, the conversions of droplets that no app has any more.
    ///
    /// This may also remove the conversion of an upload whose droplet record is not written yet. That does no harm: the
    /// droplet record names the layers itself, and the next upload of the same bytes converts them again.
    /// - Returns: how many conversions were removed.
    @discardableResult
    public func forgetConversions() async throws(ImageError) -> Int {
        var kept: Set<Substring> = []
        try await records.forEach(DropletRecord.folder) { (key) throws(ImageError) in
            if let hash = key.text.split(separator: "/").last { kept.insert(hash) }
        }
        var count = 0
        try await records.forEach(DropletConversion.folder) { (key) throws(ImageError) in
            let parts = key.text.dropFirst(DropletConversion.folder.utf8.count).split(separator: "/")
            guard let hash = parts.first, !kept.contains(hash) else { return }
            try await records.remove(key)
            count += 1
        }
        if count > 0 { try await records.sync() }
        return count
    }

    /// Writes a droplet's record, unless there is a readable one, which stays as it is. Not durable before `sync()`.
    /// - Parameters:
    ///   - reservation: holds the droplet's bytes in the quotas.
    ///   - stated: what the record that is stored must have.
    /// - Returns: the record that is stored.
    /// - Throws: `.aliasTaken` if another droplet of the app has the same SHA-1; `.otherBase`.
    func keep(
        _ record: DropletRecord, _ reservation: QuotaReservation, _ stated: StatedBase
    ) async throws(ImageError) -> DropletRecord {
        for other in try await droplets(of: record.guid)
        where other.sha1 == record.sha1 && other.hash != record.hash {
            throw .aliasTaken(guid: record.guid.text, sha1: record.sha1)
        }
        var isNew = false
        defer {
            cache.remove(record.guid)
            if isNew { appList.forget() }
        }
        let stored = try await records.update(
            try DropletRecord.key(record.guid, record.hash), as: DropletRecord.self, replacingDamaged: true
        ) { found in
            isNew = found == nil
            return isNew ? .write(record) : .keep
        }
        if isNew {
            reservation.commit(record.logicalBytes)
            tally.added(record)
        }
        let kept = stored?.value ?? record
        try stated.check(kept)
        return kept
    }

    private func load(_ guid: DropletGUID) async throws(ImageError) -> [DropletRecord] {
        let page = try await records.list(DropletRecord.folder(guid), after: nil, limit: Self.maximumPerApp)
        return try await records.readable(page, as: DropletRecord.self).sorted {
            ($1.uploaded, $1.hash) < ($0.uploaded, $0.hash)
        }
    }
}

extension DropletRecord {
    /// Its approximate size in memory, in bytes.
    var cost: Int { 768 + content.layers.count * 384 + content.staged.count * 256 }
}
