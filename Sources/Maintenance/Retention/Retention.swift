package import Images
package import OCI
package import Rootfs

/// How long what was taken in is kept. What is current and what runs stays whatever this says.
package struct RetentionPolicy: Hashable, Sendable {
    /// An app's newest droplets; nil: all.
    package var droplets: Int?
    /// A stack's newest rootfs versions; nil: all.
    package var rootfs: Int?
    /// How long manifests stay that no tag needs, in nanoseconds; nil: for ever.
    package var untagged: Int64?
    /// How old a cluster's report of what runs there may be, in nanoseconds.
    package var reportAge: Int64

    package init(
        droplets: Int? = nil, rootfs: Int? = nil, untagged: Int64? = nil, reportAge: Int64 = 3600 * 1_000_000_000
    ) {
        self.droplets = droplets
        self.rootfs = rootfs
        self.untagged = untagged
        self.reportAge = reportAge
    }
}

/// What was taken out, or would be, before content is collected.
package struct RetirementReport: Hashable, Sendable {
    /// Why droplets and rootfs versions were left alone; nil if they were not.
    package internal(set) var withheld: String?
    /// `<guid>/<sha256>`
    package internal(set) var droplets: [String] = []
    /// `<stack>/<version>`
    package internal(set) var rootfs: [String] = []
    /// How many droplets and rootfs versions are older than the policy wants, and run.
    package internal(set) var pinned = 0
    /// How many manifests.
    package internal(set) var manifests = 0

    package init() {}
}

/// One round of retention: what owners need to know for it, and what they took out.
package struct Retirement: Sendable {
    package let policy: RetentionPolicy
    /// Nothing is changed.
    package let isDryRun: Bool
    /// Digests of manifests that run somewhere.
    package let running: Set<Digest>
    /// Whether every report could be read; else other digests may run too.
    package let isRunningKnown: Bool
    package internal(set) var report = RetirementReport()
}

/// Retires what nobody needs by the policy.
///
/// Without a fresh and complete report from every known cluster no droplet and no rootfs version is retired, and without any
/// known cluster neither: that nobody said what runs does not mean that nothing does.
package struct Retention: Sendable {
    private let images: DerivedImages
    private let pins: RunningImages
    private let policy: RetentionPolicy
    private let now: @Sendable () -> Int64

    /// - Parameter now: nanoseconds since 1970.
    package init(
        images: DerivedImages, pins: RunningImages, policy: RetentionPolicy, now: @escaping @Sendable () -> Int64
    ) {
        self.images = images
        self.pins = pins
        self.policy = policy
        self.now = now
    }

    /// Lets owners take out what the policy no longer wants.
    package func apply(to owners: ContentOwners, dryRun: Bool) async throws -> RetirementReport {
        let clusters = try await pins.clusters()
        var retirement = Retirement(
            policy: policy, isDryRun: dryRun, running: Set(clusters.flatMap(\.digests)),
            isRunningKnown: clusters.allSatisfy(\.isReadable))
        if policy.droplets != nil || policy.rootfs != nil { retirement.report.withheld = reasonToWait(clusters) }
        for owner in owners.all { try await owner.retire(&retirement) }
        return retirement.report
    }

    /// Why it is not known what runs; nil if it is.
    private func reasonToWait(_ clusters: [ClusterPins]) -> String? {
        guard !clusters.isEmpty else { return "no cluster has reported what runs there" }
        let oldest = now() - policy.reportAge
        for cluster in clusters {
            if !cluster.isReadable { return "the report of cluster \(cluster.cluster) can't be read" }
            if !cluster.isComplete { return "the report of cluster \(cluster.cluster) is not complete" }
            if cluster.reported < oldest { return "the report of cluster \(cluster.cluster) is too old" }
        }
        return nil
    }

    /// Removes a rootfs version because somebody says so: images on it are gone, and its bytes with the next collection.
    ///
    /// What is current or known to run is never removed. What one would go back to, and anything while it is not known
    /// what runs, only by force.
    /// - Throws: `.unknownStack`, `.unknownVersion`, `.rootfsInUse`, `.rootfsNeeded`.
    package func remove(_ stack: StackName, _ version: VersionName, force: Bool) async throws(ImageError) {
        guard try await images.rootfs.exists(stack, version) else { throw .unknownVersion(stack, version) }
        guard images.rootfs.history(stack)?.current != version else { throw .rootfsInUse(stack, version) }
        let clusters = try await pins.clusters()
        if !force {
            if images.rootfs.neededForGoingBack(stack).contains(version) {
                throw .rootfsNeeded(
                    stack, version, reason: "\(stack) \(version) was current before: removing it needs --force")
            }
            if let unknown = reasonToWait(clusters) {
                throw .rootfsNeeded(
                    stack, version,
                    reason: "it is not known whether \(stack) \(version) runs (\(unknown)): removing it needs --force")
            }
        }
        if try await images.runs(stack, version, Set(clusters.flatMap(\.digests))) {
            throw .rootfsNeeded(
                stack, version,
                reason: "\(stack) \(version) runs by the last reports (GET /api/v1/pins): roll those apps onto another "
                    + "version first, or forget a cluster that is no more")
        }
        try await images.remove(stack, version)
    }
}
