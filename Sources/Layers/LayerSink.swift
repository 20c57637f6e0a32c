public import OCI

/// Where converted layers go. Layers knows no store: whoever calls it says where bytes are kept.
public protocol LayerSink: Sendable {
    associatedtype Writer: LayerWriter
    /// Begins a layer's bytes.
    func begin() async throws -> Writer
}

/// One layer being written. Exactly one of `finish` and `abort` ends it.
public protocol LayerWriter: Sendable {
    /// Whatever the sink knows the stored bytes by.
    associatedtype Stored: Sendable

    /// Appends bytes, slowing the conversion down to what the sink takes.
    func write(_ bytes: [UInt8]) async throws
    /// - Parameters:
    ///   - digest: of all bytes written.
    ///   - size: their number.
    func finish(digest: Digest, size: Int64) async throws -> Stored
    func abort() async
}
