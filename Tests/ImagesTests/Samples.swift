import Archive
import Droplets
import Images
import ImagesTesting
import Layers
import OCI
import Packages
import Rootfs
import Runtime
import TestSupport

/// Values that never change, for golden digests.
enum Samples {
    static func layer(_ name: String, compression: CompressionFormat = .gzip) throws -> LayerReference {
        LayerReference(
            compression: compression, digest: Digest.of("\(name) stored".utf8), size: Int64(name.utf8.count) * 1000,
            diffID: Digest.of("\(name) tar".utf8))
    }

    static func recipe(
        family: MediaTypeFamily, version: String = "1", delta: [LayerReference] = [], format: ComposerFormat = .v1,
        registry: String? = nil
    ) throws -> Recipe {
        Recipe(
            format: format, stack: try StackName("cisternfs"), version: try VersionName(version), architecture: .amd64,
            family: family, rootfs: [try layer("rootfs")], rootfsCreated: Timestamp(seconds: 1_767_225_600),
            shell: "/bin/bash", lifecycle: try layer("lifecycle"), delta: delta, registry: registry)
    }

    static func droplet(
        compression: CompressionFormat = .gzip, staged: [StagedBuildpack] = []
    ) throws -> DropletContent {
        DropletContent(
            digest: Digest.of("droplet".utf8), layers: [try layer("droplet", compression: compression)],
            newestEntry: Timestamp(seconds: 1_767_312_000), staged: staged)
    }

    /// An archive, a commit, and one of which only the name is known.
    static let staged = [
        StagedBuildpack(name: "nodejs_buildpack", version: "1.8.2", source: Digest.of("nodejs".utf8).description),
        StagedBuildpack(name: "custom", source: "git:" + String(repeating: "0a", count: 20)),
        StagedBuildpack(name: "local"),
    ].compactMap { $0 }
}
