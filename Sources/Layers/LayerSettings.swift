public import Archive

/// How layers are made. The same settings and input give the same bytes.
public struct LayerSettings: Sendable, Hashable {
    public var compression: CompressionFormat
    public var mode: LayerMode
    public var limits: ConversionLimits

    public init(
        compression: CompressionFormat = .gzip, mode: LayerMode = .single, limits: ConversionLimits = ConversionLimits()
    ) {
        self.compression = compression
        self.mode = mode
        self.limits = limits
    }
}

/// How a droplet is cut into layers.
public enum LayerMode: String, Sendable, Hashable, CaseIterable {
    /// One layer.
    case single
    /// One layer for each `deps/<index>`, and one for everything else.
    case split
}

/// What a conversion may take. Going over one is `ConversionError.Fault.tooLarge`.
public struct ConversionLimits: Sendable, Hashable {
    /// Bytes of the compressed input.
    public var inputBytes: Int64 = 16 << 30
    /// Bytes of the layers before compression.
    public var outputBytes: Int64 = 32 << 30
    public var entries = 1_000_000
    /// Bytes of a name or of a link's target, where it ends up in the image.
    public var nameLength = 4095
    /// How many bytes one byte of input may become, past `ratioAllowance`.
    public var ratio: Int64 = 200
    /// Bytes that any input may become.
    public var ratioAllowance: Int64 = 256 << 20
    /// Zeros written for the holes of sparse files.
    public var holeBytes: Int64 = 8 << 30
    /// Stored parts of one sparse file.
    public var sparseParts = 1 << 17
    /// Bytes of one extended header.
    public var headerBytes = 1 << 20
    /// Zeros after the archive's end.
    public var tailBytes: Int64 = 16 << 20
    /// Directories that have no entry of their own.
    public var missingParents = 1 << 14
    /// `deps/<index>` layers; more can't be split.
    public var splitLayers = 24
    /// Bytes of history that a zstd stream may ask for: memory that a conversion needs.
    public var zstdWindow = 8 << 20

    public init() {}

    var reader: TarReader.Limits {
        var limits = TarReader.Limits()
        limits.nameLength = nameLength
        limits.headerLength = headerBytes
        limits.sparseParts = sparseParts
        limits.tailLength = tailBytes
        return limits
    }
}
