import Blobs
import Layers
import OCI
import ObjectStore

/// A layer in the store.
struct StoredLayer: LayerSource {
    let diffID: Digest?
    let open: @Sendable () async throws(BlobError) -> any ObjectReader

    init(_ layer: LayerReference, in blobs: BlobStore) {
        diffID = layer.diffID
        open = { () async throws(BlobError) in try await blobs.open(layer.digest).reader }
    }

    init(_ staged: StagedBlob, diffID: Digest?) {
        self.diffID = diffID
        open = { () async throws(BlobError) in try await staged.open() }
    }

    func bytes() -> Bytes { Bytes(layer: self) }

    struct Bytes: AsyncSequence, Sendable {
        let layer: StoredLayer

        func makeAsyncIterator() -> Iterator { Iterator(layer: layer) }
    }

    /// Opens the layer when it is first asked, and closes it at the end; a reader that is dropped before gives up its
    /// file by itself.
    struct Iterator: AsyncIteratorProtocol {
        private static let chunk = 256 << 10

        let layer: StoredLayer
        private var reader: (any ObjectReader)?
        private var offset: Int64 = 0

        init(layer: StoredLayer) { self.layer = layer }

        mutating func next() async throws -> [UInt8]? {
            try Task.checkCancellation()
            if reader == nil { reader = try await layer.open() }
            guard let bytes = try await reader?.read(at: offset, maximum: Self.chunk), !bytes.isEmpty else {
                await reader?.close()
                return nil
            }
            offset += Int64(bytes.count)
            return bytes
        }
    }
}
