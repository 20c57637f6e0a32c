public import OCI

/// A stored layer that can be read from its beginning as often as wanted.
public protocol LayerSource: Sendable {
    associatedtype Bytes: AsyncSequence & Sendable where Bytes.Element == [UInt8]

    /// The digest of the layer's tar, which is checked when all of it is read; nil: nothing is promised.
    var diffID: Digest? { get }

    /// The layer as it is stored (tar, gzip or zstd) in chunks of any size.
    func bytes() -> Bytes
}
