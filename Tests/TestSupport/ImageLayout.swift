import Foundation
import JSON
public import OCI

/// An OCI layout on disk, made by hand, so that it can be wrong in any way.
public struct ImageLayout: Sendable {
    public let directory: String

    /// Makes an empty one.
    public init(in directory: String) throws {
        self.directory = directory
        try FileManager.default.createDirectory(
            atPath: directory + "/blobs/sha256", withIntermediateDirectories: true)
        try write(Array(#"{"imageLayoutVersion":"1.0.0"}"#.utf8), "oci-layout")
        try setIndex([])
    }

    /// One that is there.
    public init(at directory: String) { self.directory = directory }

    public func write(_ bytes: [UInt8], _ name: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
    }

    public func path(_ digest: Digest) -> String { "\(directory)/blobs/sha256/\(digest.hex)" }

    @discardableResult
    public func add(_ bytes: [UInt8], _ type: MediaType) throws -> Descriptor {
        let digest = Digest.of(bytes)
        try write(bytes, "blobs/sha256/\(digest.hex)")
        return Descriptor(mediaType: type, digest: digest, size: Int64(bytes.count))
    }

    /// Adds an image of uncompressed layers.
    /// - Parameter diffIDs: nil: the right ones.
    public func addImage(
        _ layers: [[UInt8]], architecture: String = "amd64", diffIDs: [Digest]? = nil
    ) throws -> Descriptor {
        let platform = Platform(architecture: architecture)
        let config = ImageConfig(
            created: nil, platform: platform, execution: ImageConfig.Execution(),
            diffIDs: diffIDs ?? layers.map { Digest.of($0) }, history: [])
        let manifest = Manifest(
            mediaType: .ociManifest, config: try add(config.json.canonicalBytes, .ociConfig),
            layers: try layers.map { try add($0, .ociLayer) })
        var descriptor = try add(manifest.json.canonicalBytes, .ociManifest)
        descriptor.platform = platform
        return descriptor
    }

    public func addIndex(_ manifests: [Descriptor]) throws -> Descriptor {
        try add(Index(mediaType: .ociIndex, manifests: manifests).json.canonicalBytes, .ociIndex)
    }

    public func setIndex(_ manifests: [Descriptor]) throws {
        try write(Index(mediaType: .ociIndex, manifests: manifests).json.canonicalBytes, "index.json")
    }
}
