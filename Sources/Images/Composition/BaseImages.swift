import JSON
import OCI
public import Rootfs
import Runtime

/// Makes the index of base images, in the order of the architectures: a pure function, pinned by golden digests as the
/// images are.
/// - Parameter images: of one version and family, which has each architecture once.
public func composeIndex(_ images: [(architecture: Architecture, image: ComposedImage)]) -> DerivedManifest {
    // Docker's vocabulary can't describe an image with a zstd layer: one such image makes the index OCI's.
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
    /// What a rootfs version's tag stands for: the index of its variants if it has several and the client accepts one,
    /// else the image of the first of its architectures.
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
                // No recipe was ever made for this variant, and none can be without a lifecycle layer: it has no image.
                continue
            }
        }
        return images.count > 1 ? composeIndex(images) : nil
    }

    /// The index with a digest, for as long as its version exists.
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

    /// All recipes of a stack, by their numbers for each architecture.
    struct IndexesKey: Hashable {
        let stack: StackName
        let recipes: [[Int]]
    }

    /// The recipe that a variant's base image is composed with. A base image has no lifecycle layer, so an earlier recipe
    /// gives the same bytes where this server has no lifecycle layer for the architecture any more.
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
