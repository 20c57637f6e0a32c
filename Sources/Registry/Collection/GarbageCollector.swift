public import Blobs
import JSON
public import OCI
public import ObjectStore
import Records

/// What a collection did, or would do.
public struct CollectionReport: Hashable, Sendable {
    public internal(set) var repositories = 0
    /// Of these, the ones whose manifests were read: nothing was pushed to the others, or deleted, since an earlier
    /// collection had read them.
    public internal(set) var repositoriesRead = 0
    /// Digests that something refers to.
    public internal(set) var marked = 0
    /// Records of blobs that were looked at.
    public internal(set) var blobs = 0
    public internal(set) var retired = 0
    public internal(set) var retiredBytes: Int64 = 0
    /// Nothing refers to them, but somebody relied on them of late.
    public internal(set) var leased = 0
    /// Records of blobs that could not be read: they stay, and verification says more.
    public internal(set) var damaged = 0
    /// Nothing refers to them, but a record that can't be read may (`Record.namesContent`).
    public internal(set) var spared = 0
    /// What went before, by the retention policies. A dry run counts its content as still in use.
    public internal(set) var retention = CollectionRunner.Retired()

    public init() {}
}

/// Collects content that nothing refers to, while everything else goes on.
///
/// It marks what is referred to (`GarbageCollector+Mark.swift`), then goes through all blobs and retires those that are
/// not marked and whose lease is older than the mark's start less the grace period. Writers renew a lease *before* they
/// write a reference down, so whatever they refer to while the mark runs is younger than that. Nobody is locked out.
///
/// What a record names that can't be read is not known. Of a manifest's membership it can be told all the same, or more than
/// that: see `Registry.possibleReferences`. While a record of a droplet, a recipe or a rootfs can't be read, no bytes are
/// collected that were there when it was written; bytes that came later, an unfinished push's for example, it can't name.
public struct GarbageCollector: Sendable {
    /// Blobs that are retired at the same time: few, for clients wait behind them.
    static let concurrency = 4

    let registry: Registry
    private let blobs: BlobStore
    /// Read past any cache: a collection must not push what is in use out of it.
    let reading: any ObjectStore
    private let clockSkew: Int64

    /// - Parameters:
    ///   - reading: the store itself.
    ///   - clockSkew: by how much the clocks of this process and of other writers may differ, in nanoseconds.
    public init(
        registry: Registry, blobs: BlobStore, reading: any ObjectStore, clockSkew: Int64 = 60_000_000_000
    ) {
        self.registry = registry
        self.blobs = blobs
        self.reading = reading
        self.clockSkew = clockSkew
    }

    /// Collects.
    /// - Parameters:
    ///   - roots: what must stay besides what repositories have, in portions.
    ///   - dryRun: changes nothing.
    ///   - progress: told how far it is, now and then.
    public func collect<Roots: AsyncSequence>(
        roots: Roots, dryRun: Bool = false, progress: @Sendable (CollectionReport) -> Void = { _ in }
    ) async throws(RegistryError) -> CollectionReport where Roots.Element == [Digest] {
        // Before the first thing is marked: a lease from then on keeps its blob.
        let cutoff = registry.now() - blobs.grace - clockSkew
        var report = CollectionReport()
        var marked = DigestSet()
        try await mark(roots, &marked)
        try await markRepositories(&marked, cutoff: cutoff, dryRun: dryRun, &report, progress)
        report.marked = marked.count
        progress(report)
        // All of them were met by now, at the start or by the mark.
        let spared = registry.records.unreadable.mayNameContentBefore
        try await sweep(except: marked, cutoff: cutoff, sparing: spared, dryRun: dryRun, &report, progress)
        if !dryRun { try await registry.records.sync() }
        return report
    }

    private func sweep(
        except marked: DigestSet, cutoff: Int64, sparing spared: Int64?, dryRun: Bool, _ report: inout CollectionReport,
        _ progress: (CollectionReport) -> Void
    ) async throws(RegistryError) {
        var walk = BlobWalk(in: reading)
        while true {
            let page: [Digest]?
            do { page = try await walk.next() } catch { throw .blob(error) }
            guard let page else { return }
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
                case .failure(.store(.cancelled)): throw .cancelled
                case .failure(let error): throw .blob(error)
                }
            }
            progress(report)
        }
    }

    private func retire(
        _ digests: [Digest], cutoff: Int64, sparing spared: Int64?, dryRun: Bool
    ) async -> [Result<Retirement, BlobError>] {
        await inParallel(digests, Self.concurrency) { digests in
            var results: [Result<Retirement, BlobError>] = []
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
}
