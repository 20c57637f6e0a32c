public import Droplets
import Layers
public import OCI
public import Rootfs

/// What a digest stands for in a repository of derived images.
public enum ImageContent: Hashable, Sendable {
    case manifest(ComposedImage)
    /// The same for both media-type families.
    case config([UInt8])
    /// A layer, whose bytes are a blob.
    case layer(size: Int64)
    /// A document about an image.
    case document([UInt8])
}

extension DerivedImages {
    /// What an image is composed of.
    struct Origin {
        let recipe: Recipe
        let droplet: DropletContent
    }

    /// The image of a droplet's repository that has this manifest digest, for as long as its recipe and droplet exist.
    public func image(_ guid: DropletGUID, _ digest: Digest) async throws(ImageError) -> ComposedImage? {
        if case .manifest(let image)? = try await document(guid, digest) { image } else { nil }
    }

    /// What a blob digest stands for in a droplet's repository: a config or a layer of one of its images.
    public func content(_ guid: DropletGUID, _ digest: Digest) async throws(ImageError) -> ImageContent? {
        for droplet in try await droplets.droplets(of: guid) {
            if let layer = droplet.content.layers.first(where: { $0.digest == digest }) {
                return .layer(size: layer.size)
            }
            if let layer = recipes.layer(droplet.stack, droplet.architecture, digest) {
                return .layer(size: layer.size)
            }
        }
        if case .config(let config)? = try await document(guid, digest) { return .config(config) }
        return nil
    }

    /// The manifest or config with a digest among all images of a droplet's repository.
    private func document(_ guid: DropletGUID, _ digest: Digest) async throws(ImageError) -> ImageContent? {
        guard let origin = try await origin(guid, digest) else { return nil }
        return image(origin.recipe, origin.droplet).content(digest)
    }

    /// What the image was composed of whose manifest or config has a digest, among all of a droplet's repository.
    func origin(_ guid: DropletGUID, _ digest: Digest) async throws(ImageError) -> Origin? {
        let records = try await droplets.droplets(of: guid)
        if let origin = recentOrigin(digest, among: records) { return origin }
        let found = try await imageDigests.find(
            digest, in: sources(records),
            deriving: { (recipe, source) throws(ImageError) in compose(recipe, source).digests },
            where: { (recipe, source) throws(ImageError) in compose(recipe, source).digests.contains(digest) })
        guard let found, let droplet = found.source.droplet else { return nil }
        return Origin(recipe: found.recipe, droplet: droplet)
    }

    /// The recipe of the base image of a stack whose manifest or config has a digest.
    func baseOrigin(_ stack: StackName, _ digest: Digest) async throws(ImageError) -> Recipe? {
        try await imageDigests.find(
            digest, in: baseSources(stack),
            deriving: { (recipe, source) throws(ImageError) in compose(recipe, source).digests },
            where: { (recipe, source) throws(ImageError) in compose(recipe, source).digests.contains(digest) })?.recipe
    }

    func sources(_ records: [DropletRecord], packageChanges: Int = 0) -> [DigestIndex.Source] {
        records.map {
            DigestIndex.Source(
                droplet: $0.content, base: RecipeStore.Base(stack: $0.stack, architecture: $0.architecture),
                packageChanges: packageChanges)
        }
    }

    func baseSources(_ stack: StackName, packageChanges: Int = 0) -> [DigestIndex.Source] {
        Architecture.allCases.map {
            DigestIndex.Source(
                droplet: nil, base: RecipeStore.Base(stack: stack, architecture: $0), packageChanges: packageChanges)
        }
    }

    private func compose(_ recipe: Recipe, _ source: DigestIndex.Source) -> ComposedImage {
        if let droplet = source.droplet { Images.compose(recipe, droplet) } else { composeBase(recipe) }
    }
}

extension ComposedImage {
    fileprivate var digests: [Digest] { [manifestDigest, configDigest] }

    func content(_ digest: Digest) -> ImageContent? {
        if manifestDigest == digest { return .manifest(self) }
        return configDigest == digest ? .config(config) : nil
    }
}

extension DropletRecord {
    package func fits(_ recipe: Recipe) -> Bool { recipe.stack == stack && recipe.architecture == architecture }
}
