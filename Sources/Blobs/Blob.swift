public import OCI
public import ObjectStore

/// Content that is there: its digest and its size in bytes.
public struct Blob: Hashable, Sendable {
    public let digest: Digest
    public let size: Int64
}

/// A blob opened for reading. Close the reader when done.
public struct OpenBlob: Sendable {
    public let blob: Blob
    public let reader: any ObjectReader
}
