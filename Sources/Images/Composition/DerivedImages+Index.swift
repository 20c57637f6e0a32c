public import OCI
public import Rootfs
import Runtime

extension DerivedImages {
    /// The index of a rootfs version with variants for several architectures; nil for one with a single variant, whose
    /// tag stands for that one's manifest.
    /// - Parameter tag: a version's name, or `current`.
    /// - Throws: `.invalidName`, `.unknownStack`, `.unknownVersion`, `.nothingPromoted`.
    public func baseIndex(
        _ stack: StackName, _ tag: String, _ family: MediaTypeFamily
    ) async throws(ImageError) -> ComposedIndex? {
        let version = tag == "current" ? try rootfs.current(stack) : try VersionName(tag)
        let variants = Set(try rootfs.versions(stack).filter { $0.version == version }.map(\.architecture))
        guard variants.count > 1 else { return nil }
        var images: [(architecture: Architecture, image: ComposedImage)] = []
        for architecture in variants {
            do {
                images.append(
                    (architecture, composeBase(try await baseRecipe(stack, version, architecture, family))))
            } catch .noLifecycle {
                // Nobody ever had an image for it, and nobody can now.
                continue
            }
        }
        return images.count > 1 ? composeIndex(images) : nil
    }

    /// The index with a digest, for as long as its version exists.
    public func baseIndex(_ stack: StackName, _ digest: Digest) -> ComposedIndex? {
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
        var made: [Digest: ComposedIndex] = [:]
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

    /// The recipe that a variant's base image is composed with. That has no lifecycle layer: where this server has none
    /// any more, an earlier recipe gives the same bytes.
    func baseRecipe(
        _ stack: StackName, _ version: VersionName, _ architecture: Architecture, _ family: MediaTypeFamily
    ) async throws(ImageError) -> Recipe {
        do { return try await recipe(stack, version, architecture, family) } catch .noLifecycle {
            let known = recipes.recipes(stack, architecture).last { $0.version == version && $0.family == family }
            guard let known else { throw .noLifecycle(architecture) }
            return known
        }
    }
}
