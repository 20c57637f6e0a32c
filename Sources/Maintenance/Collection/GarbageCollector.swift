package import Blobs
import JSON
package import OCI
package import ObjectStore
import Records

/// What a collection did, or would do.
package struct CollectionReport: Hashable, Sendable {
    package internal(set) var repositories = 0
    /// Of these, the ones whose manifests were read: nothing was pushed to the others, or deleted, since an earlier
    /// collection had read them.
    package internal(set) var repositoriesRead = 0
    /// Digests that something refers to.
    package internal(set) var marked = 0
    /// Records of blobs that were looked at.
    package internal(set) var blobs = 0
    package internal(set) var retired = 0
    package internal(set) var retiredBytes: Int64 = 0
    /// Nothing refers to them, but somebody relied on them of late.
    package internal(set) var leased = 0
    /// Records of blobs that could not be read: they stay, and verification says more.
    package internal(set) var damaged = 0
    /// Nothing refers to them, but a record that can't be read may (`Record.namesContent`).
    package internal(set) var spared = 0
    /// What owners took out before. A dry run counts its content as still in use.
    package internal(set) var retention = RetirementReport()

    package init() {}
}

/// What must stay, as the owners of content tell it.
package struct RootMark: Sendable {
    /// Leases that are older are over, in nanoseconds since 1970.
    package let cutoff: Int64
    /// Nothing is changed.
    package let isDryRun: Bool
    /// Read past any cache: a collection must not push what is in use out of it.
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

    /// - Parameter keys: what `DigestSet.key` made of digests.
    mutating func insert(keys: [UInt64]) {
        for key in keys { marked.insert(key: key) }
    }

    /// Says how far it is, now and then.
    func advance() { progress(report) }
}

/// Collects content that nothing refers to, while everything else goes on.
///
/// It lets the owners of content mark what they refer to, then goes through all blobs and retires those that are not marked
/// and whose lease is older than the mark's start less the grace period. Writers renew a lease *before* they write a
/// reference down, so whatever they refer to while the mark runs is younger than that. Nobody is locked out.
///
/// What a record names that can't be read is not known. Of a manifest's membership it can be told all the same, or more than
/// that: see `Registry.possibleReferences`. While a record of a droplet, a recipe or a rootfs can't be read, no bytes are
/// collected that were there when it was written; bytes that came later, an unfinished push's for example, it can't name.
package struct GarbageCollector: Sendable {
    /// Blobs that are retired at the same time: few, for clients wait behind them.
    private static let concurrency = 4

    private let owners: ContentOwners
    private let blobs: BlobStore
    private let reading: any ObjectStore
    private let clockSkew: Int64

    /// - Parameters:
    ///   - reading: the store itself: a collection must not push what is in use out of a cache.
    ///   - clockSkew: by how much the clocks of this process and of other writers may differ, in nanoseconds.
    package init(
        owners: ContentOwners, blobs: BlobStore, reading: any ObjectStore, clockSkew: Int64 = 60_000_000_000
    ) {
        self.owners = owners
        self.blobs = blobs
        self.reading = reading
        self.clockSkew = clockSkew
    }

    /// Collects.
    /// - Parameters:
    ///   - retired: what owners took out before.
    ///   - progress: told how far it is, now and then.
    package func collect(
        after retired: RetirementReport = RetirementReport(), dryRun: Bool = false,
        progress: @escaping @Sendable (CollectionReport) -> Void = { _ in }
    ) async throws -> CollectionReport {
        var report = CollectionReport()
        report.retention = retired
        // Before the first thing is marked: a lease from then on keeps its blob.
        let cutoff = blobs.now() - blobs.grace - clockSkew
        var mark = RootMark(cutoff: cutoff, isDryRun: dryRun, reading: reading, report, progress)
        for owner in owners.all { try await owner.roots(&mark) }
        report = mark.report
        report.marked = mark.marked.count
        progress(report)
        // All of them were met by now, at the start or by the mark.
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

/// Deals elements out to a few tasks, for a task of its own would cost more than most of them.
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
