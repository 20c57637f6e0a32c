public import Blobs
public import OCI
public import ObjectStore
import Records

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
    /// Records that can't be read: what bytes they name is not known, so no bytes are deleted.
    public internal(set) var unreadable = 0
    /// Whether what can be repaired was.
    public internal(set) var isRepaired = false
}

/// Reads everything again, at a limited rate: content is hashed, and records are held against each other.
///
/// A damaged blob is quarantined: nobody gets it any more, and pushing it again makes it whole. Everything goes on
/// meanwhile.
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

    public init(
        registry: Registry, blobs: BlobStore, reading: any ObjectStore, users: @escaping Users = { _ in [] }
    ) {
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
        try await verifyBlobs(rate, &named, &report, progress)
        try await addUsers(to: &report)
        try await verifyRepositories(repair, &report, progress)
        try await verifyData(named, before: before, repair, &report)
        if repair { try await registry.records.sync() }
        return report
    }

    private func verifyBlobs(
        _ rate: Int64, _ named: inout DigestSet, _ report: inout VerificationReport,
        _ progress: (VerificationReport) -> Void
    ) async throws(RegistryError) {
        var pacer = Pacer(rate: rate)
        var walk = BlobWalk(in: reading)
        while true {
            let page: [Digest]?
            do { page = try await walk.next() } catch { throw .blob(error) }
            guard let page else { return }
            for digest in page {
                if Task.isCancelled { throw .cancelled }
                try await verify(digest, &pacer, &named, &report)
            }
            progress(report)
        }
    }

    private func verify(
        _ digest: Digest, _ pacer: inout Pacer, _ named: inout DigestSet, _ report: inout VerificationReport
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
            await note(digest, in: &named, &report)
        } catch {
            if case .store(.cancelled) = error { throw .cancelled }
            throw .blob(error)
        }
    }

    /// Remembers which bytes a digest's record names.
    private func note(_ digest: Digest, in named: inout DigestSet, _ report: inout VerificationReport) async {
        do throws(BlobError) {
            if let name = try await blobs.bytesName(of: digest, in: reading) { named.insert(hexadecimal: name) }
        } catch { report.unreadable += 1 }
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

    private func verifyData(
        _ named: DigestSet, before: Int64, _ repair: Bool, _ report: inout VerificationReport
    ) async throws(RegistryError) {
        var after: String?
        repeat {
            do throws(BlobError) {
                let page = try await BlobStore.orphans(
                    in: reading, after: after, limit: Self.page, before: before,
                    isNamed: { named.contains(hexadecimal: $0) })
                for orphan in page.orphans {
                    report.orphans += 1
                    report.orphanBytes += orphan.size
                    if repair, report.unreadable == 0 { try await blobs.deleteOrphan(orphan.name) }
                }
                after = page.next
            } catch { throw .blob(error) }
        } while after != nil
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
