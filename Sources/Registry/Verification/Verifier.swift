package import Blobs
public import OCI
package import ObjectStore
package import Records

/// What a verification found, and did.
public struct VerificationReport: Hashable, Sendable {
    /// A blob whose bytes are not what they should be.
    public struct Damage: Hashable, Sendable {
        public let digest: Digest
        public let reason: String
        /// What refers to it: manifests as `<repository>@<digest>`, and what else is known of; at most
        /// `Verifier.maximumUsers` of them.
        public internal(set) var users: [String] = []
    }

    /// A record that can't be read.
    public struct Unreadable: Hashable, Sendable {
        /// What became of it.
        public enum Outcome: String, Hashable, Sendable {
            /// It stays, and what it may name too.
            case kept
            /// What it said is known from others, and was written down again.
            case mended
            /// It was moved to `quarantine/`, where nobody looks for it but an operator.
            case setAside = "set aside"
        }

        public let key: String
        /// `tag`, `droplet` …
        public let kind: String
        public let reason: String
        public internal(set) var outcome: Outcome
    }

    public internal(set) var blobs = 0
    public internal(set) var bytes: Int64 = 0
    /// At most `Verifier.maximumDamages` of them.
    public internal(set) var damages: [Damage] = []
    public internal(set) var damagedCount = 0
    public internal(set) var repositories = 0
    /// Repositories that the catalog does not list.
    public internal(set) var unlisted = 0
    /// Tags and referrers that point to nothing.
    public internal(set) var dangling = 0
    /// Manifests that are missing among the referrers of their subject.
    public internal(set) var unlinked = 0
    /// Bytes that nothing names: left by uploads that did not come to their end.
    public internal(set) var orphans = 0
    public internal(set) var orphanBytes: Int64 = 0
    /// Records that can't be read, or could not be before a repair.
    public internal(set) var unreadable = 0
    /// At most `Verifier.maximumDamages` of them.
    public internal(set) var unreadableRecords: [Unreadable] = []
    /// Whether what can be repaired was.
    public internal(set) var isRepaired = false

    public init() {}
}

/// Reads everything again, at a limited rate: content is hashed, and records are held against each other.
///
/// A damaged blob is quarantined: nobody gets it any more, and pushing it again makes it whole. Everything goes on
/// meanwhile.
///
/// A record that can't be read is reported; a repair deals with those that are damaged. What others know is written down
/// again: a marker, what a repository has of a blob, a manifest's membership (from the manifest, with the generation that
/// its tags have), a referrer (from the manifest), the record of a blob whose bytes are found. What nobody else knows (a tag,
/// a droplet, a recipe, a rootfs version) is set aside: it is moved to `quarantine/`, it protects nothing any more, and who
/// wants it back uploads, imports or pushes it again. What a newer version of Cistern wrote is never touched.
public struct Verifier: Sendable {
    public static let maximumDamages = 1000
    public static let maximumUsers = 20
    /// Says what refers to digests besides repositories.
    public typealias Users = @Sendable (Set<Digest>) async throws -> [(digest: Digest, user: String)]
    static let page = 1000

    let registry: Registry
    let blobs: BlobStore
    /// Read past any cache: what is on the disk is the question.
    let reading: any ObjectStore
    private let users: Users
    private let folders: [RecordFolder]

    /// - Parameters:
    ///   - users: what refers to digests besides repositories.
    ///   - folders: records besides those of repositories.
    package init(
        registry: Registry, blobs: BlobStore, reading: any ObjectStore, folders: [RecordFolder] = [],
        users: @escaping Users = { _ in [] }
    ) {
        self.folders = folders
        self.registry = registry
        self.users = users
        self.blobs = blobs
        self.reading = reading
    }

    /// Verifies everything.
    /// - Parameters:
    ///   - rate: how many bytes a second are read at most.
    ///   - repair: corrects records that can be corrected, and deletes bytes that nothing names.
    ///   - progress: told how far it is, now and then.
    public func verify(
        rate: Int64, repair: Bool, progress: @Sendable (VerificationReport) -> Void = { _ in }
    ) async throws(RegistryError) -> VerificationReport {
        var report = VerificationReport()
        report.isRepaired = repair
        // Bytes that are younger may get their record yet.
        let before = registry.now() - blobs.grace
        var named = DigestSet()
        var unreadable: [UnreadableRecord] = []
        try await verifyBlobs(rate, &named, &unreadable, &report, progress)
        try await addUsers(to: &report)
        try await verifyRepositories(repair, &report, progress)
        try await verifyFolders(repair, &report)
        try await verifyData(named, unreadable, before: before, repair, &report)
        if repair { try await registry.records.sync() }
        return report
    }

    private func verifyBlobs(
        _ rate: Int64, _ named: inout DigestSet, _ unreadable: inout [UnreadableRecord],
        _ report: inout VerificationReport, _ progress: (VerificationReport) -> Void
    ) async throws(RegistryError) {
        var pacer = Pacer(rate: rate)
        var walk = BlobWalk(in: reading)
        while true {
            let page: [Digest]?
            do { page = try await walk.next() } catch { throw .blob(error) }
            guard let page else { return }
            for digest in page {
                if Task.isCancelled { throw .cancelled }
                try await verify(digest, &pacer, &named, &unreadable, &report)
            }
            progress(report)
        }
    }

    private func verify(
        _ digest: Digest, _ pacer: inout Pacer, _ named: inout DigestSet, _ unreadable: inout [UnreadableRecord],
        _ report: inout VerificationReport
    ) async throws(RegistryError) {
        report.blobs += 1
        do throws(BlobError) {
            let condition = try await blobs.check(digest, in: reading) { (count) throws(BlobError) in
                report.bytes += Int64(count)
                try await pacer.pay(count)
            }
            if case .damaged(let reason) = condition, try await isStillDamaged(digest) {
                _ = try? await blobs.quarantine(digest)
                add(.init(digest: digest, reason: reason), to: &report)
            }
            if case .quarantined = condition { add(.init(digest: digest, reason: "quarantined before"), to: &report) }
            // Which bytes it names.
            if let record = try await blobs.unreadableRecord(of: digest, in: reading) {
                unreadable.append(record)
            } else if let name = try await blobs.bytesName(of: digest, in: reading) {
                named.insert(hexadecimal: name)
            }
        } catch {
            if case .store(.cancelled) = error { throw .cancelled }
            throw .blob(error)
        }
    }

    /// Whether it is not that it was deleted, or pushed again, while it was read.
    private func isStillDamaged(_ digest: Digest) async throws(BlobError) -> Bool {
        let condition = try await blobs.check(digest, in: reading) { _ in }
        if case .damaged = condition { return true }
        return false
    }

    private func addUsers(to report: inout VerificationReport) async throws(RegistryError) {
        guard !report.damages.isEmpty else { return }
        let found: [(digest: Digest, user: String)]
        do { found = try await users(Set(report.damages.map(\.digest))) } catch {
            throw error as? RegistryError ?? .input(error)
        }
        for index in report.damages.indices {
            let users = found.filter { $0.digest == report.damages[index].digest }.map(\.user)
            report.damages[index].users = Array(users.prefix(Self.maximumUsers))
        }
    }

    private func add(_ damage: VerificationReport.Damage, to report: inout VerificationReport) {
        report.damagedCount += 1
        if report.damages.count < Self.maximumDamages { report.damages.append(damage) }
    }

    /// Looks at records besides those of repositories and blobs.
    private func verifyFolders(_ repair: Bool, _ report: inout VerificationReport) async throws(RegistryError) {
        for folder in folders {
            var found: [(record: UnreadableRecord, kind: String)] = []
            try await folder.check(registry.records.reading(reading)) { (record, kind) throws(RegistryError) in
                found.append((record, kind))
            }
            for (record, kind) in found { try await setAside(record, kind, repair, &report) }
        }
    }

    func setAside(
        _ record: UnreadableRecord, _ kind: String, _ repair: Bool, _ report: inout VerificationReport
    ) async throws(RegistryError) {
        var isGone = false
        if repair { isGone = try await registry.records.setAside(record) }
        note(record, kind, isGone ? .setAside : .kept, &report)
    }

    func note(
        _ record: UnreadableRecord, _ kind: String, _ outcome: VerificationReport.Unreadable.Outcome,
        _ report: inout VerificationReport
    ) {
        report.unreadable += 1
        guard report.unreadableRecords.count < Self.maximumDamages else { return }
        report.unreadableRecords.append(
            .init(key: record.key.text, kind: kind, reason: record.fault.description, outcome: outcome))
    }

    /// Finds bytes that no record names. A repair deletes them, unless a record can't be read that may name them; and it
    /// looks among them for the bytes of such records.
    private func verifyData(
        _ named: DigestSet, _ unreadable: [UnreadableRecord], before: Int64, _ repair: Bool,
        _ report: inout VerificationReport
    ) async throws(RegistryError) {
        var lost: [Digest: UnreadableRecord] = [:]
        for record in unreadable { if let digest = BlobStore.digest(ofRecord: record.key) { lost[digest] = record } }
        var after: String?
        repeat {
            do throws(BlobError) {
                let page = try await BlobStore.orphans(
                    in: reading, after: after, limit: Self.page, before: before,
                    isNamed: { named.contains(hexadecimal: $0) })
                for orphan in page.orphans {
                    if repair, let digest = try await blobs.adopt(orphan.name, among: lost, in: reading) {
                        if let record = lost.removeValue(forKey: digest) { note(record, "blob", .mended, &report) }
                        continue
                    }
                    report.orphans += 1
                    report.orphanBytes += orphan.size
                    if repair, unreadable.isEmpty { try await blobs.deleteOrphan(orphan.name) }
                }
                after = page.next
            } catch { throw .blob(error) }
        } while after != nil
        for (digest, record) in lost.sorted(by: { $0.value.key < $1.value.key }) {
            var isMended = false
            if repair {
                do throws(BlobError) { isMended = try await blobs.restoreInline(digest, record, in: reading) } catch {
                    throw .blob(error)
                }
            }
            if isMended {
                note(record, "blob", .mended, &report)
            } else {
                try await setAside(record, "blob", repair, &report)
            }
        }
    }
}

/// Keeps reading to a rate.
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
