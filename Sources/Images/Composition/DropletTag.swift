public import Droplets
public import OCI
public import Rootfs

/// A droplet image's tag: `<droplet-hash>` (on the stack's current rootfs) or `<droplet-hash>-<rootfs-version>`.
public struct DropletTag: Hashable, Sendable {
    public let hash: DropletHash
    /// nil: whatever is current.
    public let version: VersionName?

    public init(hash: DropletHash, version: VersionName?) {
        self.hash = hash
        self.version = version
    }

    /// - Returns: nil for a tag that can't be a droplet's.
    public init?(_ tag: Tag) {
        let parts = tag.text.utf8.split(separator: UInt8(ascii: "-"), maxSplits: 1, omittingEmptySubsequences: false)
            .map { Substring($0) }
        guard let hash = DropletHash(parts[0]) else { return nil }
        self.hash = hash
        if parts.count == 2 {
            guard let version = try? VersionName(parts[1]) else { return nil }
            self.version = version
        } else {
            self.version = nil
        }
    }
}
