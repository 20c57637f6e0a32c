import Layers
public import OCI
public import Rootfs

extension DerivedImages {
    /// The base image of a rootfs version: of the first of its architectures, if it has several.
    /// - Parameter tag: a version's name, or `current`.
    /// - Throws: `.invalidName`, `.unknownStack`, `.unknownVersion`, `.nothingPromoted`, `.noLifecycle`.
    public func base(
        _ stack: StackName, _ tag: String, _ family: MediaTypeFamily
    ) async throws(ImageError) -> ComposedImage {
        let version = tag == "current" ? try rootfs.current(stack) : try VersionName(tag)
        let variants = try rootfs.versions(stack).filter { $0.version == version }.map(\.architecture)
        guard let architecture = Architecture.allCases.first(where: variants.contains) else {
            throw .unknownVersion(stack, version)
        }
        return composeBase(try await baseRecipe(stack, version, architecture, family))
    }

    /// What a digest stands for among the base images of a stack: a layer for as long as its version exists, a document as
    /// long as its recipe.
    public func baseContent(_ stack: StackName, _ digest: Digest) async throws(ImageError) -> ImageContent? {
        for version in (try? rootfs.versions(stack)) ?? [] {
            if let layer = version.layers.first(where: { $0.digest == digest }) { return .layer(size: layer.size) }
        }
        return try await baseOrigin(stack, digest).flatMap { composeBase($0).content(digest) }
    }

    /// The tags of a stack's repository in byte order.
    /// - Throws: `.unknownStack`.
    public func baseTags(_ stack: StackName) throws(ImageError) -> [String] {
        var tags = Set(try rootfs.versions(stack).map(\.version.text))
        if rootfs.history(stack) != nil { tags.insert("current") }
        return tags.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }
}
