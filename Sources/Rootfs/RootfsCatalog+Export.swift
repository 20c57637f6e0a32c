public import Blobs
import Layers

extension RootfsCatalog {
    /// Opens a variant's layer as it is stored: the converted tar, compressed. Imported again it gives the same diffID.
    /// - Throws: `.notOneLayer`, `.blob`.
    public func open(_ version: RootfsVersion) async throws(ImageError) -> OpenBlob {
        guard version.layers.count == 1, let layer = version.layers.first else {
            throw .notOneLayer(version.stack, version.version)
        }
        do { return try await blobs.open(layer.digest) } catch { throw .blob(error) }
    }
}
