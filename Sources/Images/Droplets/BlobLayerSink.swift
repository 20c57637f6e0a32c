import Blobs
import Layers
import OCI

/// Layers go to blobs. They are made durable later, all of a request together, by `BlobStore.commit`.
struct BlobLayerSink: LayerSink {
    let blobs: BlobStore

    func begin() async throws -> BlobLayerWriter { BlobLayerWriter(writer: try await blobs.begin()) }
}

struct BlobLayerWriter: LayerWriter {
    let writer: BlobWriter

    func write(_ bytes: [UInt8]) async throws { try await writer.write(bytes) }
    func finish(digest: Digest, size: Int64) async throws -> BlobWriter { writer }
    func abort() async { await writer.abort() }
}
