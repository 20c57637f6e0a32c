public import Layers
public import OCI
public import Runtime

/// What an image takes from a droplet: a function of the droplet's bytes and the layer mode alone.
public struct DropletContent: Hashable, Sendable {
    /// SHA-256 of the bytes that were uploaded.
    public let digest: Digest
    /// Bottom up.
    public let layers: [LayerReference]
    /// The latest modification time among the droplet's entries.
    public let newestEntry: Timestamp
    /// Those that staged it, as it says itself; empty for what earlier Cisterns converted.
    public let buildpacks: [StatedBuildpack]

    public init(
        digest: Digest, layers: [LayerReference], newestEntry: Timestamp, buildpacks: [StatedBuildpack] = []
    ) {
        self.buildpacks = buildpacks
        self.digest = digest
        self.layers = layers
        self.newestEntry = newestEntry
    }
}
