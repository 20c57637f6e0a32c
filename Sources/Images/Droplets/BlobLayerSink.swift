import Blobs
import Layers
import OCI

/// Layers go to blobs. They are made durable later, all of a request together, by `BlobStore.commit`.
struct BlobLayerSink: LayerSink {
    let blobs: BlobStore
    /// Counts what is written; nil: nobody does.
    var room: DropletRoom?

    func begin() async throws -> BlobLayerWriter {
        BlobLayerWriter(writer: blobs.begin(), room: room)
    }
}

struct BlobLayerWriter: LayerWriter {
    let writer: BlobWriter
    let room: DropletRoom?

    func write(_ bytes: [UInt8]) async throws {
        try await room?.add(layer: bytes.count)
        try await writer.write(bytes)
    }
    func finish(digest: Digest, size: Int64) async throws -> BlobWriter { writer }
    func abort() async { await writer.abort() }
}
