public import Blobs
public import ObjectStore
public import Records
public import Rootfs
import Runtime

/// The droplets: uploaded once, converted once, found by app guid and hash.
public final class DropletCatalog: Sendable {
    /// The most droplets that uploads give one app, since all of an app's records are in memory at once.
    public static let maximumPerApp = 10_000

    private let maximumPerApp: Int
    /// How many of an app's records are listed at a time.
    private static let page = 1000
    private static let conversionsPage = 8192

    let records: RecordStore<ImageError>
    let blobs: BlobStore
    let quotas: QuotaLedger
    let now: @Sendable () -> Int64
    /// An app's droplets, newest first.
    private let cache = BoundedCache<DropletGUID, [DropletRecord]>(maximumCost: 8 << 20)
    private let loading = SingleFlight<DropletGUID, [DropletRecord]>()
    let conversions: Limiter
    let tally = DropletTally()

    /// - Parameters:
    ///   - conversions: how many droplets are converted at the same time; the senders of further ones wait.
    ///   - quotas: limits what repositories hold; by default nothing does.
    ///   - maximumPerApp: how many droplets of one app are taken in.
    ///   - unreadable: collects the records that can't be read.
    ///   - now: nanoseconds since 1970.
    public init(
        store: any ObjectStore, blobs: BlobStore, quotas: QuotaLedger = QuotaLedger(), conversions: Int,
        maximumPerApp: Int = DropletCatalog.maximumPerApp, unreadable: UnreadableRecords = UnreadableRecords(),
        now: @escaping @Sendable () -> Int64
    ) {
        self.conversions = Limiter(conversions)
        self.maximumPerApp = maximumPerApp
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
        try await records.listComponents(below: DropletRecord.folder, after: guid, limit: limit)
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
        defer { cache.remove(guid) }
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

    /// Goes through the records of all droplets, page by page, in the order of their guids and hashes.
    public func forEachPage(of limit: Int = 500, _ body: ([DropletRecord]) async throws -> Void) async throws {
        try await forEachListing(of: limit) { page in try await body(records.readable(page.map(\.key))) }
    }

    /// Goes through the keys and versions of all records, page by page, in the order of guids and hashes. While the body
    /// works on a page the next one is listed.
    package func forEachListing(of limit: Int = 1000, _ body: ([ObjectInfo]) async throws -> Void) async throws {
        let store = records.store
        var page = try await store.list(prefix: DropletRecord.folder, startAfter: nil, limit: limit)
        while let last = page.last {
            try Task.checkCancellation()
            let isLast = page.count < limit
            async let next =
                isLast ? [] : store.list(prefix: DropletRecord.folder, startAfter: last.key.text, limit: limit)
            try await body(page)
            page = try await next
        }
    }

    /// Where the records are.
    package var store: any ObjectStore { records.store }

    /// The records under some keys that are there and can be read, in the order of the keys.
    package func stored(_ keys: [ObjectKey]) async throws(ImageError) -> [StoredRecord<DropletRecord>] {
        try await records.stored(keys)
    }

    /// Calls back with each app that has more than so many droplets, without reading a droplet.
    public func forEachApp(
        withMoreThan count: Int, _ body: (DropletGUID) async throws(ImageError) -> Void
    ) async throws(ImageError) {
        var app: (guid: Substring, count: Int) = ("", 0)
        func end() async throws(ImageError) {
            if app.count > count, let guid = try? DropletGUID(app.guid) { try await body(guid) }
        }
        try await records.forEach(DropletRecord.folder) { (key) throws(ImageError) in
            let guid = DropletRecord.name(in: key).prefix { $0 != "/" }
            if guid != app.guid {
                try await end()
                app = (guid, 0)
            }
            app.count += 1
        }
        try await end()
    }

    /// Removes, durably, the conversions of droplets that no app has any more.
    ///
    /// This may also remove the conversion of a droplet whose record was written only lately. That does no harm: the
    /// record names the layers itself, and the next upload of the same bytes converts them again.
    /// - Parameter isKept: whether an app has a droplet with this SHA-256.
    /// - Returns: how many conversions were removed.
    @discardableResult
    public func forgetConversions(except isKept: (String) -> Bool) async throws(ImageError) -> Int {
        var count = 0
        var after: String?
        repeat {
            if Task.isCancelled { throw .cancelled }
            // Only the hashes: what is below those that stay is not looked at.
            let page = try await records.listComponents(
                below: DropletConversion.folder, after: after, limit: Self.conversionsPage)
            for hash in page where !isKept(hash) {
                try await records.forEach(DropletConversion.folder + hash + "/") { (key) throws(ImageError) in
                    try await records.remove(key)
                    count += 1
                }
            }
            after = page.count < Self.conversionsPage ? nil : page.last
        } while after != nil
        if count > 0 { try await records.sync() }
        return count
    }

    /// Writes a droplet's record, unless there is a readable one, which stays as it is. Not durable before `sync()`.
    /// - Parameters:
    ///   - reservation: holds the droplet's bytes in the quotas.
    ///   - stated: what the record that is stored must have.
    /// - Returns: the record that is stored.
    /// - Throws: `.aliasTaken` if another droplet of the app has the same SHA-1; `.tooManyDroplets`; `.otherBase`.
    func keep(
        _ record: DropletRecord, _ reservation: QuotaReservation, _ stated: StatedBase
    ) async throws(ImageError) -> DropletRecord {
        let known = try await droplets(of: record.guid)
        for other in known where other.sha1 == record.sha1 && other.hash != record.hash {
            throw .aliasTaken(guid: record.guid.text, sha1: record.sha1)
        }
        if !known.contains(where: { $0.hash == record.hash }) { try checkCount(known, record.guid) }
        let mark = cache.mark
        var isNew = false
        let stored: DropletRecord
        do throws(ImageError) {
            stored =
                try await records.update(
                    try DropletRecord.key(record.guid, record.hash), as: DropletRecord.self, replacingDamaged: true
                ) { found in
                    isNew = found == nil
                    return isNew ? .write(record) : .keep
                }?.value ?? record
        } catch {
            // It may be stored all the same.
            cache.remove(record.guid)
            throw error
        }
        cache.update(record.guid, since: mark) { Self.list($0, with: stored) }
        if isNew {
            reservation.commit(record.logicalBytes)
            tally.added(record)
        }
        try stated.check(stored)
        return stored
    }

    /// Checks whether an app may have one more droplet. Uploads at the same time may each pass.
    /// - Throws: `.tooManyDroplets`.
    func checkCount(_ droplets: [DropletRecord], _ guid: DropletGUID) throws(ImageError) {
        guard droplets.count < maximumPerApp else { throw .tooManyDroplets(guid: guid.text, limit: maximumPerApp) }
    }

    /// An app's droplets with one more, unless that is among them, and their cost.
    private static func list(
        _ records: [DropletRecord], with record: DropletRecord
    ) -> (value: [DropletRecord], cost: Int) {
        var records = records
        if !records.contains(where: { $0.hash == record.hash }) {
            // Nearly always the first place: what was just uploaded is the newest.
            records.insert(record, at: records.firstIndex { !$0.isNewer(than: record) } ?? records.count)
        }
        return (records, records.reduce(0) { $0 + $1.cost })
    }

    private func load(_ guid: DropletGUID) async throws(ImageError) -> [DropletRecord] {
        var found: [DropletRecord] = []
        var after: String?
        repeat {
            let page = try await records.list(DropletRecord.folder(guid), after: after, limit: Self.page)
            found += try await records.readable(page, as: DropletRecord.self)
            after = page.count < Self.page ? nil : page.last?.text
        } while after != nil
        return found.sorted { $0.isNewer(than: $1) }
    }
}

extension DropletRecord {
    fileprivate func isNewer(than other: DropletRecord) -> Bool {
        (other.uploaded, other.hash) < (uploaded, hash)
    }

    /// Its approximate size in memory, in bytes.
    var cost: Int { 768 + content.layers.count * 384 + content.staged.count * 256 }
}
