import Droplets
import OCI
public import Rootfs

/// How long droplets and rootfs versions are kept. What is current and what runs stays whatever this says.
public struct RetentionPolicy: Hashable, Sendable {
    /// An app's newest droplets; nil: all.
    public var droplets: Int?
    /// A stack's newest rootfs versions; nil: all.
    public var rootfs: Int?
    /// How old a cluster's report of what runs there may be, in nanoseconds.
    public var reportAge: Int64

    public init(droplets: Int? = nil, rootfs: Int? = nil, reportAge: Int64 = 3600 * 1_000_000_000) {
        self.droplets = droplets
        self.rootfs = rootfs
        self.reportAge = reportAge
    }
}

/// What was retired, or would be.
public struct RetentionReport: Hashable, Sendable {
    /// Why nothing is retired at all; nil if it is.
    public internal(set) var withheld: String?
    /// `<guid>/<sha256>`
    public internal(set) var droplets: [String] = []
    /// `<stack>/<version>`
    public internal(set) var rootfs: [String] = []
    /// Older than the policy wants, and running.
    public internal(set) var pinned = 0
}

/// Retires droplets and rootfs versions that nobody needs by the policy. Their bytes go with garbage collection.
///
/// Without a fresh and complete report from every known cluster nothing is retired, and without any known cluster
/// neither: that nobody said what runs does not mean that nothing does.
public struct Retention: Sendable {
    let images: DerivedImages
    let pins: RunningImages
    private let policy: RetentionPolicy
    private let now: @Sendable () -> Int64

    public init(
        images: DerivedImages, pins: RunningImages, policy: RetentionPolicy, now: @escaping @Sendable () -> Int64
    ) {
        self.images = images
        self.pins = pins
        self.policy = policy
        self.now = now
    }

    public func apply(dryRun: Bool) async throws(ImageError) -> RetentionReport {
        let report = try await retire(dryRun: dryRun)
        if !dryRun { try await images.droplets.forgetConversions() }
        return report
    }

    private func retire(dryRun: Bool) async throws(ImageError) -> RetentionReport {
        var report = RetentionReport()
        guard policy.droplets != nil || policy.rootfs != nil else { return report }
        let clusters = try await pins.clusters()
        report.withheld = reasonToWait(clusters)
        guard report.withheld == nil else { return report }
        let running = Set(clusters.flatMap(\.digests))
        if let count = policy.droplets { try await retireDroplets(keeping: count, running, dryRun, &report) }
        if let count = policy.rootfs { try await retireRootfs(keeping: count, running, dryRun, &report) }
        return report
    }

    /// Why it is not known what runs; nil if it is.
    func reasonToWait(_ clusters: [ClusterPins]) -> String? {
        guard !clusters.isEmpty else { return "no cluster has reported what runs there" }
        let oldest = now() - policy.reportAge
        for cluster in clusters {
            if !cluster.isReadable { return "the report of cluster \(cluster.cluster) can't be read" }
            if !cluster.isComplete { return "the report of cluster \(cluster.cluster) is not complete" }
            if cluster.reported < oldest { return "the report of cluster \(cluster.cluster) is too old" }
        }
        return nil
    }

    private func retireDroplets(
        keeping count: Int, _ running: Set<Digest>, _ dryRun: Bool, _ report: inout RetentionReport
    ) async throws(ImageError) {
        var after: String?
        var last: DropletGUID?
        repeat {
            let page = try await images.droplets.list(startAfter: after, limit: 500)
            for guid in page.records.map(\.guid) where guid != last {
                last = guid
                for droplet in try await images.droplets.droplets(of: guid).dropFirst(max(count, 1)) {
                    guard !images.runs(droplet, running) else {
                        report.pinned += 1
                        continue
                    }
                    if !dryRun { try await images.droplets.remove(guid, .sha256(droplet.hash)) }
                    report.droplets.append("\(guid)/\(droplet.hash)")
                }
            }
            after = page.next
        } while after != nil
    }

    private func retireRootfs(
        keeping count: Int, _ running: Set<Digest>, _ dryRun: Bool, _ report: inout RetentionReport
    ) async throws(ImageError) {
        for stack in images.rootfs.stacks {
            var versions: [VersionName] = []
            for variant in try images.rootfs.versions(stack) where !versions.contains(variant.version) {
                versions.append(variant.version)
            }
            // What is current, and what one would go back to, is not known of a history that can't be read.
            do { _ = try await images.rootfs.storedHistory(stack) } catch {
                guard case .damaged = error else { throw error }
                continue
            }
            let needed = neededForGoingBack(stack)
            for version in versions.dropFirst(max(count, 1)) where !needed.contains(version) {
                guard try await !images.runs(stack, version, running) else {
                    report.pinned += 1
                    continue
                }
                if !dryRun { try await images.remove(stack, version) }
                report.rootfs.append("\(stack)/\(version)")
            }
        }
    }
}

extension Retention {
    /// What is current, what was before it, and what a rollback leads to.
    func neededForGoingBack(_ stack: StackName) -> Set<VersionName> {
        var versions = Set((images.rootfs.history(stack)?.promotions ?? []).prefix(2).map(\.version))
        if let target = images.rootfs.rollbackTarget(stack) { versions.insert(target) }
        return versions
    }
}

extension DerivedImages {
    /// Whether an image of a droplet, on whatever rootfs, is among digests.
    func runs(_ droplet: DropletRecord, _ running: Set<Digest>) -> Bool {
        recipes.recipes(droplet.stack, droplet.architecture).contains {
            running.contains(compose($0, droplet.content).manifestDigest)
        }
    }

    /// Whether an image on a rootfs version, or that itself, is among digests.
    func runs(_ stack: StackName, _ version: VersionName, _ running: Set<Digest>) async throws(ImageError) -> Bool {
        guard !running.isEmpty else { return false }
        let recipes = Architecture.allCases.flatMap { self.recipes.recipes(stack, $0) }.filter { $0.version == version }
        if recipes.contains(where: { running.contains(composeBase($0).manifestDigest) }) { return true }
        var after: String?
        repeat {
            let page = try await droplets.list(startAfter: after, limit: 500)
            for droplet in page.records {
                let fitting = recipes.filter { droplet.fits($0) }
                if fitting.contains(where: { running.contains(compose($0, droplet.content).manifestDigest) }) {
                    return true
                }
            }
            after = page.next
        } while after != nil
        return false
    }

    /// Forgets a rootfs version with its recipes, durably: images on it are gone. Its bytes go with garbage collection.
    /// - Throws: `.unknownVersion`; `.rootfsInUse` for a version that is current.
    public func remove(_ stack: StackName, _ version: VersionName) async throws(ImageError) {
        try await rootfs.remove(stack, version) { () throws(ImageError) in
            forgetWanted(stack, version)
            try await recipes.remove(stack, version)
        }
    }
}
