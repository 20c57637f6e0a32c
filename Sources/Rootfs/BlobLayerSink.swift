package import Blobs
import Layers
package import OCI

/// Writes layers into the blob store. `BlobStore.commit` makes them durable later, all layers of a request together.
package struct BlobLayerSink: LayerSink {
    private let blobs: BlobStore
    private let reservation: QuotaReservation?

    /// - Parameter reservation: in the repository's quotas; it grows by the layers' bytes before they are written.
    package init(blobs: BlobStore, reservation: QuotaReservation? = nil) {
        self.blobs = blobs
        self.reservation = reservation
    }

    package func begin() async throws -> BlobLayerWriter {
        BlobLayerWriter(writer: blobs.begin(), reservation: reservation)
    }
}

package struct BlobLayerWriter: LayerWriter {
    fileprivate let writer: BlobWriter
    fileprivate let reservation: QuotaReservation?

    package func write(_ bytes: [UInt8]) async throws {
        try await reservation?.grow(by: Int64(bytes.count))
        try await writer.write(bytes)
    }
    package func finish(digest: Digest, size: Int64) async throws -> BlobWriter { writer }
    package func abort() async { await writer.abort() }
}
