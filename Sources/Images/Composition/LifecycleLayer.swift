import Archive
public import Blobs
package import Layers
public import ObjectStore
public import Rootfs

/// The layer with the programs that start an app: `/lifecycle/launch`, the same under the names that older pods use.
public struct LifecycleLayer: Sendable {
    package let layer: LayerReference

    /// Makes the layer and stores it, unless it is there already. Durable when it returns.
    /// - Parameter launch: the program's bytes.
    public static func install(
        launch: [UInt8], in blobs: BlobStore, store: any ObjectStore
    ) async throws(ImageError) -> LifecycleLayer {
        do throws(any Error) {
            let built = try await buildLayer(
                entries: [
                    LayerEntry("lifecycle", .directory),
                    LayerEntry("lifecycle/launch", .file(launch)),
                    LayerEntry("lifecycle/launcher", .symbolicLink(to: "launch"), mode: 0o777),
                    LayerEntry("usr", .directory),
                    LayerEntry("usr/bin", .directory),
                    LayerEntry("usr/bin/dumb-init", .symbolicLink(to: "/lifecycle/launch"), mode: 0o777),
                ], sink: BlobLayerSink(blobs: blobs))
            if try await blobs.renew(built.digest) == nil {
                try await blobs.commit([(built.stored, built.digest)])
            } else {
                await built.stored.abort()
            }
            try await store.sync()
            return LifecycleLayer(layer: LayerReference(built))
        } catch { throw imageError(error) }
    }
}
