/// Decompresses a stream whose format it finds out from the first bytes.
///
/// Feed it until it neither consumes nor produces anything, then call `finish`. Zeros after the stream's end are taken,
/// since `bsdtar -czf -` and writers of tapes fill their last block with them.
public struct Decompressor: ~Copyable {
    /// How many bytes one step took from the input and wrote to the output.
    public struct Step: Sendable {
        public var consumed = 0
        public var produced = 0
    }

    // Not private, because the optimizer of Swift 6.3 then drops the type's metadata, which other modules need.
    enum Decoder: ~Copyable {
        case plain
        case gzip(GzipDecoder)
        case zstd(ZstdDecoder)
        case xz(XZDecoder)
        case bzip2(Bzip2Decoder)
    }

    /// The bytes of history that a stream may ask for where the caller says nothing else: what `zstd -d` takes, and
    /// twice what `xz -9` needs.
    public static let ordinaryWindow = 128 << 20
    /// How many zeros may follow the stream's end, in bytes.
    private static let maximumZeros: Int64 = 16 << 20

    private var decoder = Decoder.plain
    private var isBegun = false
    private var magic: [UInt8] = []
    /// Zeros seen after the stream's end.
    private var zeros: Int64 = 0
    private let compressions: Compressions
    private let maximumWindow: Int
    private let reserve: Reservation

    /// - Parameters:
    ///   - compressions: what is decompressed; any other stream comes out as it is.
    ///   - maximumWindow: bytes of history that a zstd or xz stream may ask for; a gzip stream has 32 KiB.
    ///   - reserve: asked for what a zstd, xz or bzip2 stream needs, once its header tells how much that is.
    public init(
        _ compressions: Compressions = .common, maximumWindow: Int = ordinaryWindow,
        reserve: @escaping Reservation = { _ in true }
    ) {
        self.compressions = compressions
        self.maximumWindow = maximumWindow
        self.reserve = reserve
    }

    /// The stream's format, once enough of it was seen; nil also for xz and bzip2, which no layer is compressed with.
    public private(set) var format: CompressionFormat?

    /// Decompresses from `input` into `output` until one of them is used up.
    ///
    /// With an empty `input` it writes the output that the decoder still holds back.
    /// - Throws: `ArchiveError` for a broken stream, and for bytes after its end that are neither zeros nor begin
    ///   another member.
    public mutating func step(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(ArchiveError) -> Step {
        if !isBegun {
            guard magic.count + input.count >= CompressionFormat.magicLength else {
                magic.append(contentsOf: input)
                return Step(consumed: input.count)
            }
            try begin(with: input)
        }
        if !magic.isEmpty {
            let held = magic
            let step = try held.withUnsafeBufferPointer { bytes throws(ArchiveError) in
                try decode(UnsafeRawBufferPointer(bytes), into: output)
            }
            magic.removeFirst(step.consumed)
            guard magic.isEmpty, step.produced == 0 else { return Step(consumed: 0, produced: step.produced) }
        }
        return try decode(input, into: output)
    }

    /// Says that the input has ended. Before that, call `step` with an empty input until it produces nothing.
    ///
    /// - Throws: `ArchiveError` if the stream is not complete, or shorter than `CompressionFormat.magicLength`.
    public mutating func finish() throws(ArchiveError) {
        guard isBegun else {
            throw .invalid(magic.isEmpty ? "it is empty" : "the stream ends within its first bytes")
        }
        switch decoder {
        case .gzip(let gzip): try gzip.finish()
        case .zstd(let zstd): try zstd.finish()
        case .xz(let xz): try xz.finish()
        case .bzip2(let bzip2): try bzip2.finish()
        case .plain: return
        }
    }

    private mutating func begin(with input: UnsafeRawBufferPointer) throws(ArchiveError) {
        isBegun = true
        let start = magic + input.prefix(CompressionFormat.magicLength)
        if compressions == .all, start.starts(with: ForeignFile.xz.prefix(CompressionFormat.magicLength)) {
            decoder = .xz(try XZDecoder(maximumWindow: maximumWindow, reserve: reserve))
            return
        }
        if compressions == .all, start.starts(with: ForeignFile.bzip2) {
            decoder = .bzip2(try Bzip2Decoder(reserve: reserve))
            return
        }
        let found = CompressionFormat(detecting: start)
        switch found {
        case .none: decoder = .plain
        case .gzip: decoder = .gzip(GzipDecoder())
        case .zstd: decoder = .zstd(try ZstdDecoder(maximumWindow: maximumWindow, reserve: reserve))
        }
        format = found
    }

    private mutating func decode(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(ArchiveError) -> Step {
        if zeros > 0 || (input.first == 0 && isBetweenMembers) { return try skipZeros(input) }
        switch decoder {
        case .gzip(let gzip): return try gzip.step(input, into: output)
        case .zstd(let zstd): return try zstd.step(input, into: output)
        case .xz(let xz): return try xz.step(input, into: output)
        case .bzip2(let bzip2): return try bzip2.step(input, into: output)
        case .plain:
            let count = min(input.count, output.count)
            output.copyMemory(from: UnsafeRawBufferPointer(rebasing: input.prefix(count)))
            return Step(consumed: count, produced: count)
        }
    }

    /// Whether a member has just ended, and nothing of another one was seen. Never for xz, whose padding liblzma reads.
    private var isBetweenMembers: Bool {
        switch decoder {
        case .gzip(let gzip): gzip.isBetweenMembers
        case .zstd(let zstd): zstd.isBetweenMembers
        case .bzip2(let bzip2): bzip2.isBetweenMembers
        case .plain: false
        case .xz: false
        }
    }

    private mutating func skipZeros(_ input: UnsafeRawBufferPointer) throws(ArchiveError) -> Step {
        guard input.allSatisfy({ $0 == 0 }) else {
            throw .invalid("the zeros after the compressed stream's end are followed by something else")
        }
        zeros += Int64(input.count)
        guard zeros <= Self.maximumZeros else {
            throw .tooLarge("more than \(Self.maximumZeros >> 20) MiB of zeros follow the compressed stream's end")
        }
        return Step(consumed: input.count)
    }
}

/// How an archive that is read may be compressed.
public enum Compressions: Hashable, Sendable {
    /// gzip or zstd.
    case common
    /// Also xz or bzip2, as root filesystems often come.
    case all

    /// In words for people.
    var text: String {
        switch self {
        case .common: "gzip or zstd"
        case .all: "gzip, zstd, xz or bzip2"
        }
    }
}

/// How a stream is compressed.
public enum CompressionFormat: Hashable, Sendable, CaseIterable {
    case none
    /// RFC 1952.
    case gzip
    /// RFC 8878.
    case zstd

    /// How many of a stream's first bytes `init(detecting:)` looks at.
    public static let magicLength = 4

    /// Looks at a stream's first bytes. What is neither gzip nor zstd counts as not compressed.
    ///
    /// - Parameter prefix: the first `magicLength` bytes, or all of a shorter stream.
    public init(detecting prefix: some Sequence<UInt8>) {
        let magic = Array(prefix.prefix(Self.magicLength))
        if magic.starts(with: [0x1f, 0x8b]) {
            self = .gzip
        } else if magic == [0x28, 0xb5, 0x2f, 0xfd] || (magic.count == 4 && Self.isSkippableFrame(magic)) {
            self = .zstd
        } else {
            self = .none
        }
    }

    private static func isSkippableFrame(_ magic: [UInt8]) -> Bool {
        magic[0] & 0xf0 == 0x50 && magic[1...] == [0x2a, 0x4d, 0x18]
    }
}

extension CompressionFormat {
    /// The format's name in settings and records.
    public var name: String {
        switch self {
        case .none: "none"
        case .gzip: "gzip"
        case .zstd: "zstd"
        }
    }

    public init?(name: String) {
        guard let format = [CompressionFormat.none, .gzip, .zstd].first(where: { $0.name == name }) else { return nil }
        self = format
    }
}
