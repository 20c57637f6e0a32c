import JSON
import OCI
public import Rootfs
import Runtime

/// Makes the index of a version's base images, in the order of the architectures. A pure function, whose bytes golden
/// digests pin as they pin the images'.
/// - Parameter images: of one version and family, each architecture once.
public func composeIndex(_ images: [(architecture: Architecture, image: ComposedImage)]) -> DerivedManifest {
    // Docker's media types have none for a zstd layer, so one image with such a layer makes this an OCI index.
    let isDocker = images.allSatisfy { $0.image.mediaType == .dockerManifest }
    let mediaType: MediaType = isDocker ? .dockerManifestList : .ociIndex
    let order = Architecture.allCases
    let manifests = order.flatMap { architecture in images.filter { $0.architecture == architecture } }.map {
        Descriptor(
            mediaType: $0.image.mediaType, digest: $0.image.manifestDigest, size: Int64($0.image.manifest.count),
            platform: Platform(architecture: $0.architecture.rawValue))
    }
    let bytes = Index(mediaType: mediaType, manifests: manifests).json.canonicalBytes
    return DerivedManifest(mediaType: mediaType, bytes: bytes, digest: Digest.of(bytes))
}

// Base images: rootfs versions without a droplet.
extension DerivedImages {
    /// The manifest that a rootfs version's tag stands for: the index of its variants if it has several and the client
    /// accepts an index, else the image of its first architecture.
    /// - Parameter tag: a version's name, or `current`.
    /// - Throws: `.invalidName`, `.unknownStack`, `.unknownVersion`, `.nothingPromoted`, `.noLifecycle`.
    func base(
        _ stack: StackName, _ tag: String, _ accepted: AcceptedFamilies
    ) async throws(ImageError) -> DerivedManifest {
        let version = tag == "current" ? try rootfs.current(stack) : try VersionName(tag)
        let variants = Set(try rootfs.versions(stack).filter { $0.version == version }.map(\.architecture))
        guard let first = Architecture.allCases.first(where: variants.contains) else {
            throw .unknownVersion(stack, version)
        }
        if variants.count > 1, let family = accepted.index,
            let index = try await baseIndex(stack, version, variants, family)
        {
            return index
        }
        return image(try await baseRecipe(stack, version, first, accepted.image), nil).served
    }

    private func baseIndex(
        _ stack: StackName, _ version: VersionName, _ variants: Set<Architecture>, _ family: MediaTypeFamily
    ) async throws(ImageError) -> DerivedManifest? {
        var images: [(architecture: Architecture, image: ComposedImage)] = []
        for architecture in variants {
            do {
                let recipe = try await baseRecipe(stack, version, architecture, family)
                images.append((architecture, image(recipe, nil)))
            } catch .noLifecycle {
                // Without a lifecycle layer no recipe can be made for this variant, and there is no earlier one: it has
                // no image.
                continue
            }
        }
        return images.count > 1 ? composeIndex(images) : nil
    }

    /// The index that has a digest, among the indexes of a stack's existing versions.
    func baseIndex(_ stack: StackName, _ digest: Digest) -> DerivedManifest? {
        let recipes = Architecture.allCases.map {
            self.recipes.numbered(RecipeStore.Base(stack: stack, architecture: $0), from: 0)
        }
        guard recipes.filter({ !$0.isEmpty }).count > 1 else { return nil }
        let key = IndexesKey(stack: stack, recipes: recipes.map { $0.map(\.number) })
        if let known = indexes.value(key) { return known[digest] }
        struct Name: Hashable {
            let version: VersionName
            let family: MediaTypeFamily
        }
        var bases: [Name: [Architecture: Recipe]] = [:]
        for (_, recipe) in recipes.joined() {
            bases[Name(version: recipe.version, family: recipe.family), default: [:]][recipe.architecture] = recipe
        }
        var made: [Digest: DerivedManifest] = [:]
        for variants in bases.values where variants.count > 1 {
            let index = composeIndex(variants.map { ($0.key, composeBase($0.value)) })
            made[index.digest] = index
        }
        indexes.insert(made, for: key, cost: made.values.reduce(512) { $0 + $1.bytes.count + 256 })
        return made[digest]
    }

    /// The cache key of a stack's indexes: the numbers of all its recipes, by architecture.
    struct IndexesKey: Hashable {
        let stack: StackName
        let recipes: [[Int]]
    }

    /// The recipe for a variant's base image. If this server has no lifecycle layer for the architecture any more, an
    /// earlier recipe gives the same bytes, since a base image has no lifecycle layer.
    private func baseRecipe(
        _ stack: StackName, _ version: VersionName, _ architecture: Architecture, _ family: MediaTypeFamily
    ) async throws(ImageError) -> Recipe {
        do { return try await recipe(stack, version, architecture, family) } catch .noLifecycle {
            let known = recipes.recipes(stack, architecture).last { $0.version == version && $0.family == family }
            guard let known else { throw .noLifecycle(architecture) }
            return known
        }
    }
}
