public import Archive
public import Blobs
import JSON
public import Layers
import OCI
public import ObjectStore
public import Records
import Runtime

/// What bits may be: bounds on their bytes, and on the zips among them.
public struct BitsLimits: Sendable {
    /// The largest bits that are taken, in bytes as sent.
    public var bytes: Int64
    public var zip: ZipReader.Limits
    /// Where the memory for reading zips comes from; nil: from anywhere.
    public var memory: ArchiveMemory?
    public var stash: StashRules

    public init(
        bytes: Int64, zip: ZipReader.Limits = ZipReader.Limits(), memory: ArchiveMemory? = nil,
        stash: StashRules = StashRules()
    ) {
        self.stash = stash
        self.bytes = bytes
        self.zip = zip
        self.memory = memory
    }
}

/// What an upload states about bits besides their bytes.
public struct BitsUpload: Sendable {
    public let name: BitsName
    /// What the bytes must be; checked before anything is kept. nil: not stated.
    public let checksum: Checksum?
    public let by: String
    /// How many bytes the sender announces, if it does: they are reserved in the quotas before the first is taken.
    public let length: Int64?
    /// What the sender says of a buildpack.
    public let buildpack: BuildpackFacts

    public init(
        name: BitsName, checksum: Checksum? = nil, by: String, length: Int64? = nil,
        buildpack: BuildpackFacts = BuildpackFacts()
    ) {
        self.name = name
        self.checksum = checksum
        self.by = by
        self.length = length
        self.buildpack = buildpack
    }
}

/// Packages, buildpacks and build caches: bytes that clients uploaded, found by name. New bits of a name replace the old
/// ones as one step; whoever reads the old ones meanwhile reads them to their end.
public final class BitsCatalog: Sendable {
    let records: RecordStore<BitsError>
    let blobs: BlobStore
    let quotas: QuotaLedger
    let limits: BitsLimits
    let zips: ZipCheck
    public let stash: Stash
    let now: @Sendable () -> Int64

    /// - Parameters:
    ///   - quotas: limits what repositories hold; by default nothing does.
    ///   - unreadable: collects the records that can't be read.
    ///   - now: nanoseconds since 1970.
    public init(
        store: any ObjectStore, blobs: BlobStore, quotas: QuotaLedger = QuotaLedger(), limits: BitsLimits,
        unreadable: UnreadableRecords = UnreadableRecords(), now: @escaping @Sendable () -> Int64
    ) {
        records = RecordStore(store, unreadable: unreadable)
        self.blobs = blobs
        self.quotas = quotas
        self.limits = limits
        zips = ZipCheck(memory: limits.memory, limits: limits.zip)
        self.now = now
        stash = Stash(records: records, blobs: blobs, rules: limits.stash, now: now)
    }

    package var store: any ObjectStore { records.store }

    package static let folders =
        BitsKind.allCases.map { kind in
            RecordFolder(
                BitsRecord.folder(kind), [RecordKind(kind.singular, BitsRecord.self) { BitsName($0)?.kind == kind }])
        } + [RecordFolder(BitsJob.folder, [RecordKind("upload of bits", BitsJob.self)]), Stash.folder]

    // MARK: reading

    /// - Throws: `.unknown`; `.damaged` if the record can't be read.
    public func find(_ name: BitsName) async throws(BitsError) -> BitsRecord {
        guard let record = try await records.read(try BitsRecord.key(name), as: BitsRecord.self) else {
            throw .unknown(name)
        }
        return record.value
    }

    /// How old a use may be before a new one is noted, in seconds.
    private static let usedInterval: Int64 = 86_400

    /// Opens the bytes, and notes that they were used.
    public func open(_ record: BitsRecord) async throws(BitsError) -> OpenBlob {
        let blob = try await BitsError.ofBlobs(await blobs.open(record.digest))
        let time = Timestamp(nanoseconds: now())
        if time.seconds - record.used.seconds > Self.usedInterval {
            // Whether it is noted is no matter of the client's: the store may be full.
            try? await note(record, usedAt: time)
        }
        return blob
    }

    private func note(_ record: BitsRecord, usedAt time: Timestamp) async throws(BitsError) {
        try await records.update(try BitsRecord.key(record.name), as: BitsRecord.self) { (found) throws(BitsError) in
            guard var current = found?.value, current.digest == record.digest else { return .keep }
            current.used = time
            return .write(current)
        }
    }

    /// Pages through all bits of a kind in the order of their names.
    /// - Parameter startAfter: `next` of the previous page; nil for the first page.
    /// - Returns: the records, and where the next page begins, nil after the last; a page may be short because a record
    ///   was removed meanwhile or can't be read.
    public func list(
        _ kind: BitsKind, startAfter: String? = nil, limit: Int
    ) async throws(BitsError) -> (records: [BitsRecord], next: String?) {
        try await list(kind, startAfter: startAfter, limit: limit, in: records)
    }

    /// The most buildpacks that are listed.
    private static let maximumBuildpacks = 1000

    /// The buildpacks in the order of their positions, those without one last.
    public func buildpacks() async throws(BitsError) -> [BitsRecord] {
        try await list(.buildpacks, limit: Self.maximumBuildpacks).records.sorted {
            ($0.buildpack?.position ?? .max, $0.name.guid) < ($1.buildpack?.position ?? .max, $1.name.guid)
        }
    }

    private func list(
        _ kind: BitsKind, startAfter: String?, limit: Int, in records: RecordStore<BitsError>
    ) async throws(BitsError) -> (records: [BitsRecord], next: String?) {
        let folder = BitsRecord.folder(kind)
        let keys = try await records.list(folder, after: startAfter.map { folder + $0 }, limit: limit)
        var found: [BitsRecord] = []
        for key in keys {
            if let record = try await records.readable(key, as: BitsRecord.self)?.value { found.append(record) }
        }
        return (found, keys.count < limit ? nil : keys.last.map { String($0.text.dropFirst(folder.count)) })
    }

    /// Goes through all bits, kind by kind.
    /// - Parameter reading: a store without a cache, since the walk would evict what is in use.
    package func forEachPage(
        in reading: any ObjectStore, _ body: ([BitsRecord]) async throws -> Void
    ) async throws {
        for kind in BitsKind.allCases {
            var after: String?
            repeat {
                try Task.checkCancellation()
                let page = try await list(kind, startAfter: after, limit: 500, in: records.reading(reading))
                try await body(page.records)
                after = page.next
            } while after != nil
        }
    }

    /// Reports to a count how many bytes the bits take.
    package func countUsage(_ count: QuotaCount, in reading: any ObjectStore) async throws {
        count.goOn(.bits)
        try await forEachPage(in: reading) { page in
            if let last = page.last { count.reached(last.name.repository, .bits) }
            for record in page { count.add(record.name.repository, record.size) }
        }
        var bytes: Int64 = 0
        try await stash.forEachBlob(in: reading) { files in bytes = bytes.clampedAdding(files.map(\.size).clampedSum) }
        if let repository = try? RepositoryName(parsing: "cistern/resources") { count.add(repository, bytes) }
        count.goOn(.bits)
    }

    // MARK: writing

    /// Takes bits in. Durable on return; if it fails nothing is visible, and bits that were there before stay.
    ///
    /// Packages and buildpacks must be zips that can be unpacked anywhere; a build cache may be any bytes.
    /// - Parameter resources: gives, once all bytes came, the files of the stash that are merged into a package; nil if
    ///   the client names none. A package may then have no bytes of its own.
    /// - Throws: `.empty`, `.tooLarge`, `.checksumMismatch`, `.unknownResource`, `.invalidDocument`, `.archive`,
    ///   `.input`, `.blob`, `.store`, `.cancelled`.
    public func upload<Source: AsyncSequence & Sendable>(
        _ upload: BitsUpload, from source: Source,
        resources: () throws(BitsError) -> [StashedFile]? = { () throws(BitsError) in nil }
    ) async throws(BitsError) -> BitsRecord where Source.Element == [UInt8] {
        let reservation = quotas.reservation(for: upload.name.repository, .bits)
        var received = try await receive(upload, from: source, reservation)
        do throws(BitsError) {
            if let files = try resources() { received = try await merge(received.staged, files, reservation) }
            guard received.staged.size > 0 else { throw .empty }
        } catch {
            await received.staged.discard()
            throw error
        }
        let facts: BuildpackFacts?
        do throws(BitsError) {
            let reader = try await BitsError.ofBlobs(await received.staged.open())
            facts = try await inspect(reader, upload.name.kind, upload.buildpack)
        } catch {
            await received.staged.discard()
            throw error
        }
        _ = try await BitsError.ofBlobs(await blobs.publish(received.staged, as: received.digest))
        let record = BitsRecord(
            name: upload.name, digest: received.digest, sha1: received.sha1, size: received.staged.size,
            uploaded: Timestamp(nanoseconds: now()), uploadedBy: upload.by, buildpack: facts)
        return try await keep(record, reservation)
    }

    /// Bits that came whole and are no blob yet.
    struct Received {
        let staged: StagedBlob
        let digest: Digest
        let sha1: String
    }

    /// Receives all bytes of an upload and compares them with what it states.
    func receive<Source: AsyncSequence & Sendable>(
        _ upload: BitsUpload, from source: Source, _ reservation: QuotaReservation
    ) async throws(BitsError) -> Received where Source.Element == [UInt8] {
        var ingest = BlobIngest(
            into: blobs, hashesSHA1: true, reservation: reservation, maximum: limits.bytes, use: .rarely)
        do throws(IngestError) {
            try await ingest.append(source, length: upload.length)
            if let checksum = upload.checksum { try ingest.check(checksum) }
        } catch {
            await ingest.abort()
            throw BitsError(error, maximum: limits.bytes)
        }
        return Received(
            staged: try await BitsError.ofBlobs(await ingest.finish()), digest: ingest.digest, sha1: ingest.sha1 ?? "")
    }

    /// Gives bits another name, without moving a byte. Durable on return.
    /// - Throws: `.unknown`; `.blob(.missing)` if the bytes are gone.
    public func copy(_ source: BitsName, to name: BitsName, by user: String) async throws(BitsError) -> BitsRecord {
        let record = try await find(source).copied(to: name, at: Timestamp(nanoseconds: now()), by: user)
        let reservation = quotas.reservation(for: name.repository, .bits)
        try await BitsError.ofBlobs(await reservation.cover(record.size))
        // The lease is renewed before the record names the bytes, so that no collection comes between.
        guard try await BitsError.ofBlobs(await blobs.renew(record.digest)) != nil else {
            throw .blob(.missing(record.digest))
        }
        return try await keep(record, reservation)
    }

    /// Removes bits, durably. The next garbage collection deletes their bytes if nothing else refers to them.
    /// - Throws: `.unknown`.
    public func remove(_ name: BitsName) async throws(BitsError) {
        let key = try BitsRecord.key(name)
        // One that can't be read is removed as well: whoever asks for that knows what it was.
        guard try await records.isThere(key) else { throw .unknown(name) }
        try await records.remove(key)
        quotas.removed()
        try await records.sync()
    }

    /// Removes bits that nobody uploaded or fetched for a while, durably.
    /// - Parameters:
    ///   - lifetime: in nanoseconds.
    ///   - reading: a store without a cache, since the walk would evict what is in use.
    /// - Returns: how many there are.
    package func retire(
        _ kind: BitsKind, unusedFor lifetime: Int64, isDryRun: Bool, in reading: any ObjectStore
    ) async throws(BitsError) -> Int {
        let latest = Timestamp(nanoseconds: now() - lifetime)
        var count = 0
        try await records.forEach(BitsRecord.folder(kind)) { (key) throws(BitsError) in
            guard let stored = try await records.reading(reading).readable(key, as: BitsRecord.self),
                stored.value.used < latest
            else { return }
            // One that was used or replaced meanwhile has another version, and stays.
            if !isDryRun { guard try await records.remove(key, version: stored.version) else { return } }
            count += 1
        }
        guard count > 0, !isDryRun else { return count }
        quotas.removed()
        try await records.sync()
        return count
    }

    /// Removes the build caches of an app, or of all apps, durably.
    /// - Parameter guid: nil: of all apps.
    /// - Returns: how many there were.
    @discardableResult
    public func removeCaches(of guid: String?) async throws(BitsError) -> Int {
        let folder = BitsRecord.folder(.caches)
        // Any stack will do: the name is made to check the guid.
        let prefix = try guid.map { (guid) throws(BitsError) in
            "\(folder)\(try BitsName(cacheOf: guid, stack: "any").guid)/"
        }
        var count = 0
        try await records.forEach(prefix ?? folder) { (key) throws(BitsError) in
            try await records.remove(key)
            count += 1
        }
        guard count > 0 else { return 0 }
        quotas.removed()
        try await records.sync()
        return count
    }

    /// Looks into bits that must be a zip, and closes their reader.
    /// - Returns: what is known of a buildpack.
    func inspect(
        _ reader: any ObjectReader, _ kind: BitsKind, _ stated: BuildpackFacts
    ) async throws(BitsError) -> BuildpackFacts? {
        var manifest: [UInt8]?
        do throws(BitsError) {
            if kind != .caches { manifest = try await zips.check(reader, readsManifest: kind == .buildpacks) }
        } catch {
            await reader.close()
            throw error
        }
        await reader.close()
        guard kind == .buildpacks else { return nil }
        var facts = stated
        facts.stack = manifest.flatMap(BuildpackManifest.stack)
        return facts
    }

    /// Writes a record over the one that may be there.
    func keep(_ record: BitsRecord, _ reservation: QuotaReservation) async throws(BitsError) -> BitsRecord {
        try await BitsError.ofStore(await OtherContent.announce(in: records.store))
        var replaced = false
        try await records.update(
            try BitsRecord.key(record.name), as: BitsRecord.self, replacingDamaged: true
        ) { (found) throws(BitsError) in
            replaced = found != nil
            return .write(record)
        }
        reservation.commit(record.size)
        // What was replaced counts until the next count.
        if replaced { quotas.removed() }
        try await records.sync()
        return record
    }
}
