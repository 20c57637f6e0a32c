package import Blobs
import JSON
package import OCI
package import ObjectStore
import Records

/// What a collection did, or would do.
package struct CollectionReport: Hashable, Sendable {
    package internal(set) var repositories = 0
    /// How many of them had their manifests read. The others did not change since an earlier collection read them.
    package internal(set) var repositoriesRead = 0
    /// How many digests are referred to.
    package internal(set) var marked = 0
    /// How many blob records were examined.
    package internal(set) var blobs = 0
    package internal(set) var retired = 0
    package internal(set) var retiredBytes: Int64 = 0
    /// How many blobs nothing refers to but a young lease protects.
    package internal(set) var leased = 0
    /// How many blob records can't be read: they stay, and a verification reports them.
    package internal(set) var damaged = 0
    /// How many blobs stay because a record that can't be read may name them (`Record.namesContent`).
    package internal(set) var spared = 0
    /// What retention removed before. A dry run still counts the content of that as referred to.
    package internal(set) var retention = RetirementReport()

    package init() {}
}

/// A collection's mark phase, which gathers the digests that must stay from the owners of content.
package struct RootMark: Sendable {
    /// Leases from before this time have expired; in nanoseconds since 1970.
    package let cutoff: Int64
    /// Whether nothing is to be changed.
    package let isDryRun: Bool
    /// A store without a cache, since a collection would evict what is in use.
    package let reading: any ObjectStore
    private(set) var marked = DigestSet()
    package internal(set) var report: CollectionReport
    private let progress: @Sendable (CollectionReport) -> Void

    init(
        cutoff: Int64, isDryRun: Bool, reading: any ObjectStore, _ report: CollectionReport,
        _ progress: @escaping @Sendable (CollectionReport) -> Void
    ) {
        self.cutoff = cutoff
        self.isDryRun = isDryRun
        self.reading = reading
        self.report = report
        self.progress = progress
    }

    package mutating func insert(_ digests: [Digest]) {
        for digest in digests { marked.insert(digest) }
    }

    /// Marks what is named by the first digits of its digest.
    mutating func insert(hexadecimal name: some StringProtocol) { marked.insert(hexadecimal: name) }

    /// Whether a digest with these digits is marked.
    func contains(hexadecimal name: String) -> Bool { marked.contains(hexadecimal: name) }

    /// - Parameter keys: digests' keys, as `DigestSet.key` makes them.
    mutating func insert(keys: [UInt64]) {
        for key in keys { marked.insert(key: key) }
    }

    /// Reports the progress.
    func advance() { progress(report) }
}

/// Collects content that nothing refers to, while requests go on.
///
/// It lets the owners of content mark what they refer to, then walks through all blobs and retires those that are not
/// marked and whose lease is older than the mark's start minus the grace period. Writers renew a lease *before* they
/// write a reference, so content that they refer to during the mark has a younger lease. Nobody is locked out.
///
/// What an unreadable record refers to is unknown. For a manifest's membership `Registry.possibleReferences` gives at
/// least what it refers to. While a record of a droplet, a recipe or a rootfs can't be read, no bytes are collected
/// that existed when it was written; it can't name later bytes, such as those of an unfinished push.
package struct GarbageCollector: Sendable {
    /// How many blobs are retired at the same time: few, since requests wait behind them.
    private static let concurrency = 4

    private let owners: ContentOwners
    private let blobs: BlobStore
    private let reading: any ObjectStore
    private let clockSkew: Int64

    /// - Parameters:
    ///   - reading: the store below the cache, since a collection would evict what is in use.
    ///   - clockSkew: by how much the clocks of this process and of other writers may differ, in nanoseconds.
    package init(
        owners: ContentOwners, blobs: BlobStore, reading: any ObjectStore, clockSkew: Int64 = 60_000_000_000
    ) {
        self.owners = owners
        self.blobs = blobs
        self.reading = reading
        self.clockSkew = clockSkew
    }

    /// Runs a collection.
    /// - Parameters:
    ///   - retired: what retention removed before, for the report.
    ///   - dryRun: whether to report what would happen and change nothing.
    ///   - progress: called regularly with the report so far.
    package func collect(
        after retired: RetirementReport = RetirementReport(), dryRun: Bool = false,
        progress: @escaping @Sendable (CollectionReport) -> Void = { _ in }
    ) async throws -> CollectionReport {
        var report = CollectionReport()
        report.retention = retired
        // The cutoff is taken before the mark begins, so that a lease that is renewed from now on keeps its blob.
        let cutoff = blobs.now() - blobs.grace - clockSkew
        var mark = RootMark(cutoff: cutoff, isDryRun: dryRun, reading: reading, report, progress)
        for owner in owners.all { try await owner.roots(&mark) }
        report = mark.report
        report.marked = mark.marked.count
        progress(report)
        // Every unreadable record is known by now, from the start of the server or from the mark.
        let spared = blobs.unreadable.mayNameContentBefore
        try await sweep(except: mark.marked, cutoff: cutoff, sparing: spared, dryRun: dryRun, &report, progress)
        if !dryRun { try await blobs.store.sync() }
        return report
    }

    private func sweep(
        except marked: DigestSet, cutoff: Int64, sparing spared: Int64?, dryRun: Bool, _ report: inout CollectionReport,
        _ progress: (CollectionReport) -> Void
    ) async throws {
        var walk = BlobWalk(in: reading)
        while let page = try await walk.next() {
            report.blobs += page.count
            let candidates = page.filter { !marked.contains($0) }
            for retirement in await retire(candidates, cutoff: cutoff, sparing: spared, dryRun: dryRun) {
                switch retirement {
                case .success(.retired(let bytes)):
                    report.retired += 1
                    report.retiredBytes = report.retiredBytes.clampedAdding(bytes)
                case .success(.kept): report.leased += 1
                case .success(.spared): report.spared += 1
                case .success(.missing): break
                case .failure(.damaged): report.damaged += 1
                case .failure(let error): throw error
                }
            }
            progress(report)
        }
    }

    private func retire(
        _ digests: [Digest], cutoff: Int64, sparing spared: Int64?, dryRun: Bool
    ) async -> [Result<BlobRetirement, BlobError>] {
        await inParallel(digests, Self.concurrency) { digests in
            var results: [Result<BlobRetirement, BlobError>] = []
            for digest in digests {
                if Task.isCancelled { return results + [.failure(.store(.cancelled))] }
                do throws(BlobError) {
                    let retirement = try await blobs.retire(
                        digest, cutoff: cutoff, sparing: spared, dryRun: dryRun, in: reading)
                    results.append(.success(retirement))
                } catch { results.append(.failure(error)) }
            }
            return results
        }.flatMap(\.self)
    }
}

/// Distributes elements over `width` tasks, because one task per element would cost more than most elements' work.
func inParallel<Element: Sendable, Value: Sendable>(
    _ elements: [Element], _ width: Int, _ body: @escaping @Sendable ([Element]) async -> Value
) async -> [Value] {
    await withTaskGroup(of: Value.self) { group in
        for first in 0..<min(width, elements.count) {
            let share = stride(from: first, to: elements.count, by: width).map { elements[$0] }
            group.addTask { await body(share) }
        }
        return await group.reduce(into: []) { $0.append($1) }
    }
}
