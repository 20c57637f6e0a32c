package import Blobs
import Layers
package import OCI

/// Layers go to blobs. They are made durable later, all of a request together, by `BlobStore.commit`.
package struct BlobLayerSink: LayerSink {
    private let blobs: BlobStore
    private let reserve: @Sendable (Int) async throws -> Void

    /// - Parameter reserve: told of bytes before they are written, so that it can refuse them.
    package init(blobs: BlobStore, reserve: @escaping @Sendable (Int) async throws -> Void = { _ in }) {
        self.blobs = blobs
        self.reserve = reserve
    }

    package func begin() async throws -> BlobLayerWriter {
        BlobLayerWriter(writer: blobs.begin(), reserve: reserve)
    }
}

package struct BlobLayerWriter: LayerWriter {
    fileprivate let writer: BlobWriter
    fileprivate let reserve: @Sendable (Int) async throws -> Void

    package func write(_ bytes: [UInt8]) async throws {
        try await reserve(bytes.count)
        try await writer.write(bytes)
    }
    package func finish(digest: Digest, size: Int64) async throws -> BlobWriter { writer }
    package func abort() async { await writer.abort() }
}
