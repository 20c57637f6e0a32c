/// How a stream is compressed.
public enum CompressionFormat: Hashable, Sendable, CaseIterable {
    case none
    /// RFC 1952.
    case gzip
    /// RFC 8878.
    case zstd

    /// How many of a stream's first bytes `init(detecting:)` wants to see.
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
