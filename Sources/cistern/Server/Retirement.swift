import Droplets
import Images
import OCI
import Registry
import Rootfs

/// What the retention policies take out before garbage is collected.
struct Retirement: Sendable {
    let retention: Retention
    let registry: Registry
    let pins: RunningImages
    /// How long manifests stay that no tag needs, in nanoseconds; nil: for ever.
    let untagged: Int64?
    /// In nanoseconds.
    let grace: Int64
    let now: @Sendable () -> Int64

    @Sendable func callAsFunction(dryRun: Bool) async throws -> CollectionRunner.Retired {
        var retired = CollectionRunner.Retired()
        let report = try await retention.apply(dryRun: dryRun)
        retired.droplets = report.droplets.count
        retired.rootfsVersions = report.rootfs.count
        retired.withheld = report.withheld
        let clusters = try await pins.clusters()
        // What runs by a report that can't be read is not known.
        if let untagged, clusters.allSatisfy(\.isReadable) {
            retired.manifests = try await registry.retireUntagged(
                // An index comes after its images: they stay for as long as any content does that is on its way.
                before: now() - max(untagged, grace), running: Set(clusters.flatMap(\.digests)), dryRun: dryRun,
                isReserved: { $0.isReserved })
        }
        return retired
    }
}
