package import Blobs
package import OCI
package import ObjectStore
import Operations
import Records

/// What a verification found and repaired.
package struct VerificationReport: Hashable, Sendable {
    /// A blob whose bytes are not what they should be.
    package struct Damage: Hashable, Sendable {
        package let digest: Digest
        package let reason: String
        /// Names of what refers to it: manifests as `<repository>@<digest>`, and others; at most
        /// `VerificationRun.maximumUsers`.
        package internal(set) var users: [String] = []
    }

    /// A record that can't be read.
    package struct Unreadable: Hashable, Sendable {
        /// What the verification did with it.
        package enum Outcome: String, Hashable, Sendable {
            /// It stays, and so does all content that it may name.
            case kept
            /// It was written again from what other records say.
            case mended
            /// It was moved to `quarantine/`, for an operator to inspect.
            case setAside = "set aside"
        }

        package let key: String
        /// For example `tag` or `droplet`.
        package let kind: String
        package let reason: String
        package internal(set) var outcome: Outcome
    }

    package internal(set) var blobs = 0
    package internal(set) var bytes: Int64 = 0
    /// The first `VerificationRun.maximumDamages` of them.
    package internal(set) var damages: [Damage] = []
    package internal(set) var damagedCount = 0
    package internal(set) var repositories = 0
    /// Repositories that the catalog does not list.
    package internal(set) var unlisted = 0
    /// Tags and referrers that point to a manifest which does not exist.
    package internal(set) var dangling = 0
    /// Manifests that are not listed among the referrers of their subject.
    package internal(set) var unlinked = 0
    /// Objects below `data/` that no record names, left behind by interrupted uploads.
    package internal(set) var orphans = 0
    package internal(set) var orphanBytes: Int64 = 0
    /// How many records can't be read, or could not be read before a repair.
    package internal(set) var unreadable = 0
    /// The first `VerificationRun.maximumDamages` of them.
    package internal(set) var unreadableRecords: [Unreadable] = []
    /// Whether the verification repaired what it can.
    package internal(set) var isRepaired = false

    package init() {}
}

/// A verification under way: what owners need to know for it, and what they found.
package struct VerificationRun: Sendable {
    package static let maximumDamages = 1000
    package static let maximumUsers = 20

    /// A store without a cache, because the bytes on disk are to be checked.
    package let reading: any ObjectStore
    /// Whether to repair records.
    package let repairs: Bool
    package internal(set) var report = VerificationReport()
    private let records: RecordStore<ObjectStoreError>
    private let progress: @Sendable (VerificationReport) -> Void

    init(
        _ records: RecordStore<ObjectStoreError>, reading: any ObjectStore, repairs: Bool,
        _ progress: @escaping @Sendable (VerificationReport) -> Void
    ) {
        self.records = records
        self.reading = reading
        self.repairs = repairs
        self.progress = progress
        report.isRepaired = repairs
    }

    /// Reports the progress.
    func advance() { progress(report) }

    /// Checks each record of some folders, and handles those that can't be read as `setAside` does.
    mutating func check(_ folders: [RecordFolder]) async throws(ObjectStoreError) {
        for (record, kind) in try await unreadable(in: folders) { try await setAside(record, kind) }
    }

    /// The records of some folders that can't be read.
    func unreadable(
        in folders: [RecordFolder]
    ) async throws(ObjectStoreError) -> [(record: UnreadableRecord, kind: String)] {
        var found: [(record: UnreadableRecord, kind: String)] = []
        for folder in folders {
            try await folder.check(records.reading(reading)) { (record, kind) throws(ObjectStoreError) in
                found.append((record, kind))
            }
        }
        return found
    }

    /// Handles a record that can't be read and can't be written again: a repair moves it to `quarantine/` if it is
    /// damaged.
    mutating func setAside(_ record: UnreadableRecord, _ kind: String) async throws(ObjectStoreError) {
        let isGone = repairs ? try await records.setAside(record) : false
        note(record, kind, isGone ? .setAside : .kept)
    }

    mutating func note(
        _ record: UnreadableRecord, _ kind: String, _ outcome: VerificationReport.Unreadable.Outcome
    ) {
        report.unreadable += 1
        guard report.unreadableRecords.count < Self.maximumDamages else { return }
        report.unreadableRecords.append(
            .init(key: record.key.text, kind: kind, reason: record.fault.description, outcome: outcome))
    }

    mutating func add(_ damage: VerificationReport.Damage) {
        report.damagedCount += 1
        if report.damages.count < Self.maximumDamages { report.damages.append(damage) }
    }
}

/// Reads everything again, at a limited rate: content is hashed, and records are checked against each other.
///
/// A damaged blob is quarantined: it is not served until it is pushed again. Requests go on meanwhile.
///
/// A record that can't be read is reported; a repair handles damaged ones. If other records tell its content, it is
/// written again: a marker, a repository's membership of a blob, a manifest's membership (from the manifest, with the
/// generation that its tags name), a referrer (from the manifest), the record of a blob whose bytes are found. Any
/// other (a tag, a droplet, a recipe, a rootfs version) is set aside: moved to `quarantine/`, so that it protects
/// nothing any more; to restore it, upload, import or push it again. Records of a newer version of Cistern are never
/// touched.
package struct Verifier: Sendable {
    private static let page = 1000

    private let owners: ContentOwners
    private let blobs: BlobStore
    private let reading: any ObjectStore

    /// - Parameter reading: the store below the cache, because the bytes on disk are to be checked.
    package init(owners: ContentOwners, blobs: BlobStore, reading: any ObjectStore) {
        self.owners = owners
        self.blobs = blobs
        self.reading = reading
    }

    /// Verifies everything.
    /// - Parameters:
    ///   - rate: how many bytes are read per second at most.
    ///   - repair: whether to repair records, and to delete bytes that no record names.
    ///   - progress: called regularly with the report so far.
    package func verify(
        rate: Int64, repair: Bool, progress: @escaping @Sendable (VerificationReport) -> Void = { _ in }
    ) async throws -> VerificationReport {
        let records = RecordStore<ObjectStoreError>(blobs.store, unreadable: blobs.unreadable)
        var verification = VerificationRun(records, reading: reading, repairs: repair, progress)
        // Younger bytes may belong to an upload whose record is not written yet.
        let before = blobs.now() - blobs.grace
        var named = DigestSet()
        var unreadable: [UnreadableRecord] = []
        try await verifyBlobs(rate, &named, &unreadable, &verification)
        for owner in owners.all { try await owner.verify(&verification) }
        try await verification.check([OperationRunner.folder])
        try await addUsers(to: &verification.report)
        try await verifyData(named, unreadable, before: before, &verification)
        if repair { try await records.sync() }
        return verification.report
    }

    private func verifyBlobs(
        _ rate: Int64, _ named: inout DigestSet, _ unreadable: inout [UnreadableRecord],
        _ verification: inout VerificationRun
    ) async throws {
        var pacer = Pacer(rate: rate)
        var walk = BlobWalk(in: reading)
        while let page = try await walk.next() {
            for digest in page {
                try Task.checkCancellation()
                try await verify(digest, &pacer, &named, &unreadable, &verification)
            }
            verification.advance()
        }
    }

    private func verify(
        _ digest: Digest, _ pacer: inout Pacer, _ named: inout DigestSet, _ unreadable: inout [UnreadableRecord],
        _ verification: inout VerificationRun
    ) async throws(BlobError) {
        verification.report.blobs += 1
        let condition = try await blobs.check(digest, in: reading) { (count) throws(BlobError) in
            verification.report.bytes += Int64(count)
            try await pacer.pay(count)
        }
        if case .damaged(let reason) = condition, try await isStillDamaged(digest, &pacer) {
            _ = try? await blobs.quarantine(digest)
            verification.add(.init(digest: digest, reason: reason))
        }
        if case .quarantined = condition { verification.add(.init(digest: digest, reason: "quarantined before")) }
        // The bytes that the record names are no orphans.
        if let record = try await blobs.unreadableRecord(of: digest, in: reading) {
            unreadable.append(record)
        } else if let name = try await blobs.bytesName(of: digest, in: reading) {
            named.insert(hexadecimal: name)
        }
    }

    /// Checks again whether a blob is damaged, since it may have been deleted or pushed again while it was read.
    private func isStillDamaged(_ digest: Digest, _ pacer: inout Pacer) async throws(BlobError) -> Bool {
        let condition = try await blobs.check(digest, in: reading) { (count) throws(BlobError) in
            try await pacer.pay(count)
        }
        if case .damaged = condition { return true }
        return false
    }

    private func addUsers(to report: inout VerificationReport) async throws {
        guard !report.damages.isEmpty else { return }
        let digests = Set(report.damages.map(\.digest))
        var users: [Digest: [String]] = [:]
        for owner in owners.all {
            for user in try await owner.users(of: digests) {
                if users[user.digest, default: []].count < VerificationRun.maximumUsers {
                    users[user.digest, default: []].append(user.name)
                }
            }
        }
        for index in report.damages.indices {
            report.damages[index].users = users[report.damages[index].digest] ?? []
        }
    }

    /// Finds bytes that no record names. A repair uses them for damaged records that they match, and deletes the others
    /// unless any blob's record can't be read, since that may name them.
    private func verifyData(
        _ named: DigestSet, _ unreadable: [UnreadableRecord], before: Int64, _ verification: inout VerificationRun
    ) async throws {
        var lost: [Digest: UnreadableRecord] = [:]
        for record in unreadable { if let digest = BlobStore.digest(ofRecord: record.key) { lost[digest] = record } }
        var after: String?
        repeat {
            try Task.checkCancellation()
            let page = try await BlobStore.orphans(
                in: reading, after: after, limit: Self.page, before: before,
                isNamed: { named.contains(hexadecimal: $0) })
            for orphan in page.orphans {
                if verification.repairs, let digest = try await blobs.adopt(orphan.name, among: lost, in: reading) {
                    if let record = lost.removeValue(forKey: digest) { verification.note(record, "blob", .mended) }
                    continue
                }
                verification.report.orphans += 1
                verification.report.orphanBytes += orphan.size
                if verification.repairs, unreadable.isEmpty { try await blobs.deleteOrphan(orphan.name) }
            }
            after = page.next
        } while after != nil
        for (digest, record) in lost.sorted(by: { $0.value.key < $1.value.key }) {
            if verification.repairs, try await blobs.restoreInline(digest, record, in: reading) {
                verification.note(record, "blob", .mended)
            } else {
                try await verification.setAside(record, "blob")
            }
        }
    }
}

/// Limits the rate of reading by pausing.
private struct Pacer {
    private let rate: Int64
    private let start = ContinuousClock.now
    private var paid: Int64 = 0

    init(rate: Int64) { self.rate = max(rate, 1) }

    mutating func pay(_ count: Int) async throws(BlobError) {
        paid += Int64(count)
        let due = start + .milliseconds(paid * 1000 / rate)
        guard due > .now + .milliseconds(10) else { return }
        do { try await Task.sleep(until: due) } catch { throw .store(.cancelled) }
    }
}
