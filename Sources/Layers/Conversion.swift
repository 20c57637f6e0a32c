public import Archive
package import Logging
public import OCI

/// Converts a droplet, in one streaming pass, into the layers of an image.
///
/// Nothing is unpacked. Memory grows with the number of entries, not with their sizes. The input is pulled at the pace
/// at which the sink takes bytes. Layers.docc has the rules for entries.
/// - Parameters:
///   - input: the droplet as it was uploaded: a tar, as it is or compressed with gzip or zstd, in chunks of any size.
///   - watch: files and paths that the caller wants to know of, by their names in the archive.
///   - replaced: the entries that are left out because later ones have their names, as `replacedEntries` finds them.
///   - sink: receives the layers. If anything fails, every writer that was begun and not finished is aborted. Layers
///     are finished only after all of the input was read and found valid; should then one of several fail to finish,
///     those finished before it stay with the sink.
/// - Returns: the stored layers, bottom up, and what became of the entries.
/// - Throws: `ConversionError`, `CancellationError`, or whatever the input or the sink throws.
public func convertDroplet<Input: AsyncSequence & Sendable, Sink: LayerSink>(
    _ input: Input, settings: LayerSettings = LayerSettings(), watch: RootfsWatch? = nil,
    replaced: ReplacedEntries = ReplacedEntries(), sink: Sink
) async throws -> ConvertedDroplet<Sink.Writer.Stored> where Input.Element == [UInt8] {
    let result = try await LayerPipeline(settings: settings, sink: sink)
        .run(input, policy: .droplet(settings.mode), watch: watch, replaced: replaced)
    return ConvertedDroplet(
        layers: result.layers, summary: result.summary, findings: result.findings, memory: result.memory)
}

/// Converts a root filesystem's tar into one layer; owners, special mode bits and file capabilities are kept.
///
/// - Parameters:
///   - input: a tar, as it is or compressed as the limits allow, in chunks of any size.
///   - watch: files and paths that the caller wants to know of.
/// - Throws: as `convertDroplet`.
public func convertRootfs<Input: AsyncSequence & Sendable, Sink: LayerSink>(
    _ input: Input, settings: LayerSettings = LayerSettings(), watch: RootfsWatch = RootfsWatch(), sink: Sink
) async throws -> ConvertedRootfs<Sink.Writer.Stored> where Input.Element == [UInt8] {
    let result = try await LayerPipeline(settings: settings, sink: sink)
        .run(input, policy: .rootfs, watch: watch)
    guard let layer = result.layers.first, let findings = result.findings else {
        throw ConversionError(.invalid, "the archive gave no layer")
    }
    return ConvertedRootfs(layer: layer, summary: result.summary, findings: findings, memory: result.memory)
}

/// How layers are made. The same settings and input give the same bytes.
public struct LayerSettings: Sendable, Hashable {
    public var compression: CompressionFormat
    /// What gzip is made for; other compressions have one level.
    public var level: CompressionLevel
    public var mode: LayerMode
    public var limits: ConversionLimits

    public init(
        compression: CompressionFormat = .gzip, level: CompressionLevel = .fast, mode: LayerMode = .single,
        limits: ConversionLimits = ConversionLimits()
    ) {
        self.compression = compression
        self.level = level
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

/// Bounds on a conversion. Going over one throws `ConversionError.Fault.tooLarge` unless its comment names another.
public struct ConversionLimits: Sendable, Hashable {
    /// Bytes of the compressed input.
    public var inputBytes: Int64 = 16 << 30
    /// Bytes of the layers before compression.
    public var outputBytes: Int64 = 32 << 30
    public var entries = 1_000_000
    /// Bytes of a name or of a link's target, where it ends up in the image. Linux takes paths of 4,095 bytes, and the
    /// directory in which a container runtime unpacks a layer stands in front (about 105 bytes in Podman's own storage,
    /// 80 in containerd's, more where an operator has moved them).
    public var nameLength = 3840
    /// How many bytes one byte of input may become, beyond `ratioAllowance`.
    public var ratio: Int64 = 200
    /// How many bytes an input of any length may become, before `ratio` counts.
    public var ratioAllowance: Int64 = 256 << 20
    /// Zeros written for the holes of sparse files.
    public var holeBytes: Int64 = 8 << 30
    /// Stored parts of one sparse file.
    public var sparseParts = 1 << 17
    /// Bytes of one extended header.
    public var headerBytes = 1 << 20
    /// How many zero bytes may follow the archive's end.
    public var tailBytes: Int64 = 16 << 20
    /// Directories that had no entry yet when the first entry below them came.
    public var missingParents = 1 << 14
    /// `deps/<index>` layers; a droplet with more of them is refused as `crossesLayers`.
    public var splitLayers = 24
    /// Bytes of history that a zstd or xz stream may ask for; a conversion of one takes that much memory.
    public var window = Decompressor.ordinaryWindow
    /// How an archive may be compressed.
    public var compressions = Compressions.common
    /// The budget of memory that conversions share; `noMemory` if it is used up. nil: memory is not counted.
    public var memory: ArchiveMemory?

    public init() {}

    var reader: TarReader.Limits {
        var limits = TarReader.Limits()
        limits.headerLength = headerBytes
        limits.sparseParts = sparseParts
        limits.tailLength = tailBytes
        limits.compressions = compressions
        return limits
    }
}

/// Which part of a droplet a layer holds.
public enum LayerGroup: Hashable, Sendable {
    /// The whole droplet or, where it is split, everything outside of the `deps/<index>` layers.
    case rest
    /// The directory `deps/<index>`.
    case dependency(index: String)
}

/// A layer that the sink has stored.
public struct ConvertedLayer<Stored: Sendable>: Sendable {
    public let group: LayerGroup
    public let compression: CompressionFormat
    /// The digest of the compressed bytes.
    public let digest: Digest
    /// The number of compressed bytes.
    public let size: Int64
    /// The digest of the tar.
    public let diffID: Digest
    /// The tar's length in bytes.
    public let uncompressedSize: Int64
    /// The sink's own handle of the stored bytes.
    public let stored: Stored
}

extension CompressionFormat {
    /// The suffix of an OCI layer's media type for this compression (OCI image specification, layer.md).
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

/// Counts and remarks about an archive that was converted.
public struct ConversionSummary: Sendable {
    /// The newest modification time of an entry that lies between the years 1970 and 9999; `nil` if there is none.
    public internal(set) var newestEntry: TarTime?
    /// Entries read.
    public internal(set) var entries = 0
    /// Bytes read, compressed.
    public internal(set) var inputBytes: Int64 = 0
    /// Bytes of the archive, decompressed.
    public internal(set) var archiveBytes: Int64 = 0
    /// `none` also for xz and bzip2, which no layer is compressed with.
    public internal(set) var inputCompression = CompressionFormat.none
    public internal(set) var notes = ConversionNotes()
}

public struct ConvertedDroplet<Stored: Sendable>: Sendable {
    /// Bottom up: dependencies in the order of their indexes, the rest on top.
    public let layers: [ConvertedLayer<Stored>]
    public let summary: ConversionSummary
    /// nil if nothing was watched for.
    public let findings: RootfsFindings?
    /// Keeps the memory of `findings` taken for as long as this value lives.
    let memory: ArchiveMemory.Share
}

public struct ConvertedRootfs<Stored: Sendable>: Sendable {
    public let layer: ConvertedLayer<Stored>
    public let summary: ConversionSummary
    public let findings: RootfsFindings
    /// Keeps the memory of `findings` taken for as long as this value lives.
    let memory: ArchiveMemory.Share
}

/// What a conversion left out or changed, for the log.
public struct ConversionNotes: Sendable, Hashable {
    public enum Kind: String, Hashable, Sendable, CaseIterable {
        case droppedSpecialBits = "dropped setuid or setgid bit"
        case droppedAttribute = "dropped extended attribute"
        case droppedRecord = "dropped unknown PAX record"
        case droppedNode = "dropped device, fifo, or link to one"
        case droppedRepeatedDirectory = "dropped repeated directory"
        case droppedReplacedEntry = "dropped entry that a later one of its name replaces"
        case droppedSelfLink = "dropped hard link of a file to itself"
        case filledHoles = "wrote the holes of a sparse file as zeros"
        case addedParent = "added directories that had no entry"
    }

    public struct Note: Hashable, Sendable {
        public let kind: Kind
        /// Printable and of bounded length.
        public let entry: String
        /// The attribute's or record's name, printable.
        public let detail: String?
    }

    /// How many examples are kept.
    public static let maximumExamples = 50

    public private(set) var totals: [Kind: Int] = [:]
    /// The first notes, at most `maximumExamples`.
    public private(set) var examples: [Note] = []

    public var isEmpty: Bool { totals.isEmpty }

    mutating func add(_ kind: Kind, _ entry: some Collection<UInt8>, _ detail: String? = nil) {
        totals[kind, default: 0] += 1
        guard examples.count < Self.maximumExamples else { return }
        examples.append(
            Note(kind: kind, entry: printableName(entry), detail: detail.map { printableName($0.utf8, limit: 100) }))
    }
}

extension ConversionNotes {
    /// Logs what a conversion left out or changed: the total of each kind, and the first five examples.
    package func log(to logger: Logger) {
        guard !isEmpty else { return }
        var metadata: Logger.Metadata = [:]
        for (kind, total) in totals { metadata[kind.rawValue] = "\(total)" }
        let shown = examples.prefix(5).map { note in
            "\(note.kind.rawValue): \(note.entry)\(note.detail.map { " (\($0))" } ?? "")"
        }
        metadata["examples"] = .array(shown.map { .string($0) })
        logger.info("the archive was changed while it was converted", metadata: metadata)
    }
}
