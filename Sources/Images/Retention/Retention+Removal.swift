import OCI
public import Rootfs

extension Retention {
    /// Removes a rootfs version because somebody says so: images on it are gone, and its bytes with the next collection.
    ///
    /// What is current or known to run is never removed. What one would go back to, and anything while it is not known
    /// what runs, only by force.
    /// - Throws: `.unknownStack`, `.unknownVersion`, `.rootfsInUse`, `.rootfsNeeded`.
    public func remove(_ stack: StackName, _ version: VersionName, force: Bool) async throws(ImageError) {
        guard try await images.rootfs.exists(stack, version) else { throw .unknownVersion(stack, version) }
        guard images.rootfs.history(stack)?.current != version else { throw .rootfsInUse(stack, version) }
        let clusters = try await pins.clusters()
        if !force {
            if neededForGoingBack(stack).contains(version) {
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
