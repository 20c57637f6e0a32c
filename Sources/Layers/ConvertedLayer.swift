public import Archive
public import OCI

/// Which part of a droplet a layer holds.
public enum LayerGroup: Hashable, Sendable {
    /// Everything, or everything that is in no layer of its own.
    case rest
    /// One `deps/<index>`.
    case dependency(index: String)
}

/// A layer that the sink has stored.
public struct ConvertedLayer<Stored: Sendable>: Sendable {
    public let group: LayerGroup
    public let compression: CompressionFormat
    /// Of the compressed bytes.
    public let digest: Digest
    /// Of the compressed bytes.
    public let size: Int64
    /// Of the tar.
    public let diffID: Digest
    /// Of the tar, in bytes.
    public let uncompressedSize: Int64
    /// What the sink knows the bytes by.
    public let stored: Stored
}

extension CompressionFormat {
    /// What the media type of an OCI layer ends with (OCI image specification, layer.md).
    public var mediaTypeSuffix: String {
        switch self {
        case .none: ""
        case .gzip: "+gzip"
        case .zstd: "+zstd"
        }
    }

    /// The media type of an OCI layer compressed like this.
    public var layerMediaType: MediaType {
        switch self {
        case .none: .ociLayer
        case .gzip: .ociLayerGzip
        case .zstd: .ociLayerZstd
        }
    }
}

/// What became of an archive.
public struct ConversionSummary: Sendable {
    /// The archive's newest entry, between 1970 and 9999; `nil` if there is none.
    public internal(set) var newestEntry: TarTime?
    /// Entries read.
    public internal(set) var entries = 0
    /// Bytes read, compressed.
    public internal(set) var inputBytes: Int64 = 0
    /// Bytes of the archive, decompressed.
    public internal(set) var archiveBytes: Int64 = 0
    public internal(set) var inputCompression = CompressionFormat.none
    public internal(set) var notes = ConversionNotes()
}

public struct ConvertedDroplet<Stored: Sendable>: Sendable {
    /// Bottom up: dependencies in the order of their indexes, the rest on top.
    public let layers: [ConvertedLayer<Stored>]
    public let summary: ConversionSummary
    /// nil if nothing was watched for.
    public let findings: RootfsFindings?
}

public struct ConvertedRootfs<Stored: Sendable>: Sendable {
    public let layer: ConvertedLayer<Stored>
    public let summary: ConversionSummary
    public let findings: RootfsFindings
}
