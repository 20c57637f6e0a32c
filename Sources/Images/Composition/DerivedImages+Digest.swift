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
    /// How many images are composed at most to find out what a digest is.
    static let maximumSearch = 4096

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
        guard let (recipe, droplet) = try await origin(guid, digest) else { return nil }
        return content(image(recipe, droplet.content), digest)
    }

    /// What the image was composed of whose manifest or config has a digest, among all of a droplet's repository.
    func origin(
        _ guid: DropletGUID, _ digest: Digest
    ) async throws(ImageError) -> (recipe: Recipe, droplet: DropletRecord)? {
        let records = try await droplets.droplets(of: guid)
        if let key = found.origin(digest), let recipe = recipes.recipe(key.recipe),
            let droplet = records.first(where: { $0.content.digest == key.droplet && $0.fits(recipe) })
        {
            return (recipe, droplet)
        }
        let pairs = records.map { ($0, recipes.recipes($0.stack, $0.architecture)) }
        let question = FoundDigests.Question(guid: guid, digest: digest)
        var searched = Hasher()
        for (droplet, recipes) in pairs {
            searched.combine(droplet.content.digest)
            searched.combine(recipes.count)
        }
        let combinations = searched.finalize()
        guard digest.algorithm == .sha256, !found.isMiss(question, combinations: combinations) else { return nil }
        var left = Self.maximumSearch
        for (droplet, recipes) in pairs {
            // The youngest recipes first: they are the likeliest.
            for recipe in recipes.reversed() where left > 0 {
                left -= 1
                if content(compose(recipe, droplet.content), digest) != nil { return (recipe, droplet) }
            }
            await Task.yield()
        }
        found.rememberMiss(question, combinations: combinations)
        return nil
    }

    private func content(_ image: ComposedImage, _ digest: Digest) -> ImageContent? {
        if image.manifestDigest == digest { return .manifest(image) }
        if image.configDigest == digest { return .config(image.config) }
        return nil
    }
}

extension DropletRecord {
    func fits(_ recipe: Recipe) -> Bool { recipe.stack == stack && recipe.architecture == architecture }
}
