public import Archive
public import Layers

/// How this server lays droplets out in layers: a setting of the operator.
public struct DropletLayout: Hashable, Sendable {
    public let mode: LayerMode
    public let compression: CompressionFormat

    public init(mode: LayerMode = .single, compression: CompressionFormat = .gzip) {
        self.mode = mode
        self.compression = compression
    }
}
