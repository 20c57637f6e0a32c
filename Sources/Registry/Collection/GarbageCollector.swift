public import Blobs
public import OCI
public import ObjectStore
import Synchronization

/// What a collection did, or would do.
public struct CollectionReport: Hashable, Sendable {
    public internal(set) var repositories = 0
    /// Digests that something refers to.
    public internal(set) var marked = 0
    /// Records of blobs that were looked at.
    public internal(set) var blobs = 0
    public internal(set) var retired = 0
    public internal(set) var retiredBytes: Int64 = 0
    /// Nothing refers to them, but somebody relied on them of late.
    public internal(set) var leased = 0
    /// Records that could not be read: they stay, and verification says more.
    public internal(set) var damaged = 0
    /// What went before, by the retention policies. A dry run counts its content as still in use.
    public internal(set) var retention = CollectionRunner.Retired()
}

/// Collects content that nothing refers to, while everything else goes on.
///
/// It marks what is referred to, then goes through all blobs and retires those that are not marked and whose lease is
/// older than the mark's start less the grace period. Writers renew a lease *before* they write a reference down, so
/// whatever they refer to while the mark runs is younger than that. Nobody is locked out.
public struct GarbageCollector: Sendable {
    /// Blobs that are retired at the same time: few, for clients wait behind them.
    static let concurrency = 4
    static let page = 1000
    /// Repositories whose manifests are read at the same time.
    static let repositories = 8
    /// Names only, and the directory is read once for each page.
    static let catalogPage = 8192

    private let registry: Registry
    private let blobs: BlobStore
    /// Read past any cache: a collection must not push what is in use out of it.
    private let reading: any ObjectStore
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
        let marking = Marking()
        try await mark(roots, marking)
        try await markRepositories(marking, &report, progress)
        let marked = marking.end()
        report.marked = marked.count
        progress(report)
        try await sweep(except: marked, cutoff: cutoff, dryRun: dryRun, &report, progress)
        if !dryRun { try await registry.facts.sync() }
        return report
    }

    private func mark<Roots: AsyncSequence>(
        _ roots: Roots, _ marking: Marking
    ) async throws(RegistryError) where Roots.Element == [Digest] {
        var iterator = roots.makeAsyncIterator()
        while true {
            let digests: [Digest]?
            do { digests = try await iterator.next() } catch {
                throw error as? RegistryError ?? .input(error)
            }
            guard let digests else { return }
            marking.mark(digests)
        }
    }

    private func markRepositories(
        _ marking: Marking, _ report: inout CollectionReport, _ progress: (CollectionReport) -> Void
    ) async throws(RegistryError) {
        var after: String?
        while true {
            let page: [String]
            do {
                page = try await reading.listComponents(
                    below: RepositoryKeys.catalog, startAfter: after, limit: Self.catalogPage)
            } catch { throw .store(error) }
            let names = page.compactMap { RepositoryKeys.repository(of: $0) }
            if let error = await mark(names, marking) { throw error }
            report.repositories += names.count
            progress(report)
            guard page.count == Self.catalogPage, let last = page.last else { return }
            after = last
        }
    }

    /// Marks what repositories have, some at the same time: what is waited for is mostly the disk.
    private func mark(_ names: [RepositoryName], _ marking: Marking) async -> RegistryError? {
        await inParallel(names, Self.repositories) { names in
            do throws(RegistryError) {
                for name in names { try await markManifests(of: name, marking) }
                return nil
            } catch { return error }
        }.lazy.compactMap(\.self).first
    }

    /// Marks a repository's manifests and what they name.
    private func markManifests(of name: RepositoryName, _ marking: Marking) async throws(RegistryError) {
        let facts = Facts(store: reading)
        let keys = RepositoryKeys(name: name)
        for algorithm in try await components(below: keys.manifests, after: nil) {
            guard let algorithm = DigestAlgorithm(rawValue: algorithm) else { continue }
            var after: String?
            while true {
                if Task.isCancelled { throw .cancelled }
                let page = try await components(below: "\(keys.manifests)\(algorithm.rawValue)/", after: after)
                for hex in page {
                    guard let digest = try? Digest(algorithm, hex: hex),
                        // Gone since it was listed.
                        let membership: StoredFact<ManifestMembership> = try await facts.read(
                            try keys.manifest(digest))
                    else { continue }
                    marking.mark([digest])
                    marking.mark(try await registry.references(of: digest, membership.value))
                }
                guard page.count == Self.page else { break }
                after = page.last
            }
        }
    }

    /// Names only: a look at each object would cost more than the list.
    private func components(below prefix: String, after: String?) async throws(RegistryError) -> [String] {
        do { return try await reading.listComponents(below: prefix, startAfter: after, limit: Self.page) } catch {
            throw .store(error)
        }
    }

    private func sweep(
        except marked: DigestSet, cutoff: Int64, dryRun: Bool, _ report: inout CollectionReport,
        _ progress: (CollectionReport) -> Void
    ) async throws(RegistryError) {
        var walk = BlobWalk(in: reading)
        while true {
            let page: [Digest]?
            do { page = try await walk.next() } catch { throw .blob(error) }
            guard let page else { return }
            report.blobs += page.count
            let candidates = page.filter { !marked.contains($0) }
            for retirement in await retire(candidates, cutoff: cutoff, dryRun: dryRun) {
                switch retirement {
                case .success(.retired(let bytes)):
                    report.retired += 1
                    report.retiredBytes += bytes
                case .success(.kept): report.leased += 1
                case .success(.missing): break
                case .failure(.damaged): report.damaged += 1
                case .failure(let error): throw .blob(error)
                }
            }
            progress(report)
        }
    }

    private func retire(
        _ digests: [Digest], cutoff: Int64, dryRun: Bool
    ) async -> [Result<Retirement, BlobError>] {
        await inParallel(digests, Self.concurrency) { digests in
            var results: [Result<Retirement, BlobError>] = []
            for digest in digests {
                do throws(BlobError) {
                    let retirement = try await blobs.retire(digest, cutoff: cutoff, dryRun: dryRun, in: reading)
                    results.append(.success(retirement))
                } catch { results.append(.failure(error)) }
            }
            return results
        }.flatMap(\.self)
    }

    /// Deals elements out to a few tasks, for a task of its own would cost more than most of them.
    private func inParallel<Element: Sendable, Value: Sendable>(
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

/// What is marked, by several at once.
private final class Marking: Sendable {
    private let digests = Mutex(DigestSet())

    func mark(_ more: [Digest]) {
        digests.withLock { digests in
            for digest in more { digests.insert(digest) }
        }
    }

    /// Everything that was marked. To be asked once.
    func end() -> DigestSet {
        digests.withLock { digests in
            defer { digests = DigestSet() }
            return digests
        }
    }
}
