package import Clusters
package import Images
package import Rootfs

/// How long content is kept. What is current or runs always stays.
package struct RetentionPolicy: Hashable, Sendable {
    /// How many of an app's newest droplets stay; nil: all.
    package var droplets: Int?
    /// How many of a stack's newest rootfs versions stay; nil: all.
    package var rootfs: Int?
    /// How long manifests that nothing needs stay, in nanoseconds; nil: forever.
    package var untagged: Int64?
    /// How long packages stay that nobody uploads or fetches, in nanoseconds; nil: forever.
    package var packages: Int64?
    /// The same of build caches.
    package var caches: Int64?
    /// The oldest report of what runs in a cluster that is still trusted, in nanoseconds.
    package var reportAge: Int64

    package init(
        droplets: Int? = nil, rootfs: Int? = nil, untagged: Int64? = nil, packages: Int64? = nil,
        caches: Int64? = nil, reportAge: Int64 = 3600 * 1_000_000_000
    ) {
        self.packages = packages
        self.caches = caches
        self.droplets = droplets
        self.rootfs = rootfs
        self.untagged = untagged
        self.reportAge = reportAge
    }
}

/// What retention removed, or would remove, before content is collected.
package struct RetirementReport: Hashable, Sendable {
    /// Why droplets and rootfs versions were not considered; nil if they were.
    package internal(set) var withheld: String?
    /// `<guid>/<sha256>`
    package internal(set) var droplets: [String] = []
    /// `<stack>/<version>`
    package internal(set) var rootfs: [String] = []
    /// How many droplets and rootfs versions stay only because they run.
    package internal(set) var pinned = 0
    /// How many manifests were removed.
    package internal(set) var manifests = 0
    /// How many packages, build caches and files of the stash were removed.
    package internal(set) var bits = 0

    package init() {}
}

/// One run of retention: what owners need to know for it, and what they removed.
package struct Retirement: Sendable {
    package let policy: RetentionPolicy
    /// Whether nothing is to be changed.
    package let isDryRun: Bool
    /// What runs somewhere, or could start again.
    package let running: RunningSet
    /// Whether every report could be read; if not, further digests may run too.
    package let isRunningKnown: Bool
    package internal(set) var report = RetirementReport()
}

/// Removes what the policy no longer wants.
///
/// No droplet and no rootfs version is removed unless there is at least one cluster, and every cluster has sent a fresh
/// and complete report of what runs there: a missing report does not mean that nothing runs. A cluster whose agent has
/// enrolled counts even before its first report.
package struct Retention: Sendable {
    private let images: DerivedImages
    private let pins: RunningImages
    private let clusters: ClusterCatalog
    private let policy: RetentionPolicy
    private let now: @Sendable () -> Int64

    /// - Parameter now: nanoseconds since 1970.
    package init(
        images: DerivedImages, pins: RunningImages, clusters: ClusterCatalog, policy: RetentionPolicy,
        now: @escaping @Sendable () -> Int64
    ) {
        self.images = images
        self.clusters = clusters
        self.pins = pins
        self.policy = policy
        self.now = now
    }

    /// Lets owners remove what the policy no longer wants.
    package func apply(to owners: ContentOwners, dryRun: Bool) async throws -> RetirementReport {
        let reports = try await pins.clusters()
        var retirement = Retirement(
            policy: policy, isDryRun: dryRun, running: RunningSet(reports),
            isRunningKnown: reports.allSatisfy(\.isReadable))
        if policy.droplets != nil || policy.rootfs != nil {
            retirement.report.withheld = try await reasonToWait(reports)
        }
        for owner in owners.all { try await owner.retire(&retirement) }
        return retirement.report
    }

    /// Why it is unknown what runs; nil if it is known.
    private func reasonToWait(_ reports: [ClusterPins]) async throws(ImageError) -> String? {
        let silent = try await clusters.reporting().filter { name in !reports.contains { $0.cluster == name } }
        if let name = silent.first { return "the cluster \(name) has not reported yet what runs there" }
        guard !reports.isEmpty else { return "no cluster has reported what runs there" }
        let oldest = now() - policy.reportAge
        for cluster in reports {
            if !cluster.isReadable { return "the report of cluster \(cluster.cluster) can't be read" }
            if !cluster.isComplete { return "the report of cluster \(cluster.cluster) is not complete" }
            if cluster.reported < oldest { return "the report of cluster \(cluster.cluster) is too old" }
        }
        return nil
    }

    /// Whether a report is whole, readable and fresh.
    package func isTrusted(_ report: ClusterPins) -> Bool {
        report.isReadable && report.isComplete && report.reported >= now() - policy.reportAge
    }

    /// Removes a rootfs version at an operator's request: images on it are gone, and the next collection deletes its
    /// bytes.
    ///
    /// A version that is current or known to run is never removed. A rollback target, and any version while it is
    /// unknown what runs, is only removed by force.
    /// - Throws: `.unknownStack`, `.unknownVersion`, `.rootfsInUse`, `.rootfsNeeded`.
    package func remove(_ stack: StackName, _ version: VersionName, force: Bool) async throws(ImageError) {
        guard try await images.rootfs.exists(stack, version) else { throw .unknownVersion(stack, version) }
        guard images.rootfs.history(stack)?.current != version else { throw .rootfsInUse(stack, version) }
        let reports = try await pins.clusters()
        if !force {
            if images.rootfs.neededForGoingBack(stack).contains(version) {
                throw .rootfsNeeded(
                    stack, version, reason: "\(stack) \(version) was current before: removing it needs --force")
            }
            if let unknown = try await reasonToWait(reports) {
                throw .rootfsNeeded(
                    stack, version,
                    reason: "it is not known whether \(stack) \(version) runs (\(unknown)): removing it needs --force")
            }
        }
        if try await images.runs(stack, version, RunningSet(reports)) {
            throw .rootfsNeeded(
                stack, version,
                reason: "\(stack) \(version) runs by the last reports (GET /api/v1/pins): roll those apps onto another "
                    + "version first, or forget a cluster that is no more")
        }
        try await images.remove(stack, version)
    }
}
