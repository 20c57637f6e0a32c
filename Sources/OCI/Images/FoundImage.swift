/// An image whose documents were read and checked: from what was asked for down to its configuration.
public struct FoundImage: Sendable {
    /// A document with what names it.
    public struct Document: Hashable, Sendable {
        public let descriptor: Descriptor
        public let bytes: [UInt8]

        public init(descriptor: Descriptor, bytes: [UInt8]) {
            self.descriptor = descriptor
            self.bytes = bytes
        }
    }

    /// The indexes that lead to the manifest, and the manifest last; never empty.
    public let documents: [Document]
    public let manifest: Manifest
    public let config: Document
    /// The layers' diffIDs, bottom up: as many as the manifest has layers.
    public let diffIDs: [Digest]

    /// The manifest's.
    public var digest: Digest { documents[documents.count - 1].descriptor.digest }
}

/// Why there is no image to take, in words for the person who named it; printable and of bounded length.
public struct UnsuitableImage: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String

    public init(_ reason: String) {
        description = String(
            String.UnicodeScalarView(reason.unicodeScalars.prefix(4000).filter { $0.value >= 32 && $0.value != 127 }))
    }
}
