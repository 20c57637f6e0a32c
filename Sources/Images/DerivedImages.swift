import Archive
public import Blobs
public import Droplets
import Foundation
package import Layers
import OCI
public import ObjectStore
public import Rootfs
import Runtime
public import Signatures
import Synchronization

/// Derives images from droplets, recipes and rootfs versions when they are requested. No image is stored.
public final class DerivedImages: Sendable {
    private struct RecipeKey: Hashable {
        let stack: StackName
        let version: VersionName
        let architecture: Architecture
        let family: MediaTypeFamily
        let namesBuildpacks: Bool
    }

    /// A cached image's key. Two apps may have the same droplet in different layers, so its digest alone is not enough.
    struct ImageKey: Hashable {
        let recipe: String
        /// nil for a base image.
        let droplet: DropletContent?

        /// Two contents of one digest are rare, so what else a content says need not be hashed each time.
        func hash(into hasher: inout Hasher) {
            hasher.combine(recipe)
            hasher.combine(droplet?.digest)
        }
    }

    package let droplets: DropletCatalog
    package let rootfs: RootfsCatalog
    package let recipes: RecipeStore
    package let lifecycle: [Architecture: LifecycleLayer]
    let deltas: DeltaPolicy?
    private let registry: String?
    private let wanted = Mutex<[RecipeKey: Recipe]>([:])
    private let composed = BoundedCache<ImageKey, ComposedImage>(maximumCost: 24 << 20)
    private let keeping = SingleFlight<RecipeKey, Recipe>()
    /// The origins of recently composed documents, so that a pull by digest right after one by tag needs no search.
    private let recent = BoundedCache<Digest, ImageKey>(maximumCost: 80_000)
    let imageDigests: DigestIndex
    let referrerDigests: DigestIndex
    /// The indexes of stacks with several architectures.
    let indexes = BoundedCache<IndexesKey, [Digest: DerivedManifest]>(maximumCost: 4 << 20)
    /// The keys that sign provenance.
    let signingKeys: [SigningKey]
    let madeReferrers = BoundedCache<ImageKey, MadeReferrers>(maximumCost: 4 << 20)
    let rootfsSBOMs = BoundedCache<RootfsVersion, RootfsSBOM>(maximumCost: 16 << 20)
    let sbomReferences = BoundedCache<RootfsVersion, RootfsSBOM.Reference>(maximumCost: 2000)

    /// - Parameters:
    ///   - lifecycle: the lifecycle layer of each architecture for which this server can make images.
    ///   - deltas: when images on a new version are made with a delta; nil: never.
    ///   - signingKeys: the keys that sign provenance; if empty, it is not signed.
    ///   - registry: how nodes and clients call the registry, HOST[:PORT]; new images name their base so.
    public init(
        droplets: DropletCatalog, rootfs: RootfsCatalog, recipes: RecipeStore,
        lifecycle: [Architecture: LifecycleLayer], deltas: DeltaPolicy? = nil, signingKeys: [SigningKey] = [],
        registry: String? = nil
    ) {
        self.registry = registry
        imageDigests = DigestIndex(recipes, maximumBytes: 32 << 20)
        referrerDigests = DigestIndex(recipes, maximumBytes: 32 << 20)
        self.signingKeys = signingKeys
        self.deltas = deltas
        self.droplets = droplets
        self.rootfs = rootfs
        self.recipes = recipes
        self.lifecycle = lifecycle
    }

    /// The architectures for which images can be made.
    public var architectures: [Architecture] { Architecture.allCases.filter { lifecycle[$0] != nil } }

    /// The image of a droplet on its stack's current rootfs, or on the version that the tag names.
    /// - Throws: `.unknownDroplet`, `.unknownStack`, `.unknownVersion`, `.nothingPromoted`, `.noVariant`, `.noLifecycle`.
    public func image(
        _ guid: DropletGUID, _ tag: DropletTag, _ family: MediaTypeFamily
    ) async throws(ImageError) -> ComposedImage {
        let droplet = try await droplets.droplet(guid, tag.hash)
        let version: VersionName = if let version = tag.version { version } else { try rootfs.current(droplet.stack) }
        let recipe = try await recipe(
            droplet.stack, version, droplet.architecture, family, namesBuildpacks: !droplet.content.staged.isEmpty)
        return image(recipe, droplet.content)
    }

    /// Removes a rootfs version and its recipes, durably, so that images on it are gone. The next garbage collection
    /// deletes their bytes.
    /// - Throws: `.unknownVersion`; `.rootfsInUse` for a version that is current.
    package func remove(_ stack: StackName, _ version: VersionName) async throws(ImageError) {
        try await rootfs.remove(stack, version) { () throws(ImageError) in
            wanted.withLock { wanted in
                wanted = wanted.filter { $0.key.stack != stack || $0.key.version != version }
            }
            try await recipes.remove(stack, version)
        }
    }

    /// The image of a recipe and a droplet, or the base image if there is no droplet.
    func image(_ recipe: Recipe, _ droplet: DropletContent?) -> ComposedImage {
        let key = ImageKey(recipe: recipe.id, droplet: droplet)
        if let image = composed.value(key) { return image }
        let image = ImageOrigin(recipe: recipe, droplet: droplet).compose()
        composed.insert(image, for: key, cost: image.cost)
        remember(image.digests, of: key)
        return image
    }

    func image(of origin: ImageOrigin) -> ComposedImage { image(origin.recipe, origin.droplet) }

    func remember(_ digests: [Digest], of key: ImageKey) {
        for digest in digests { recent.insert(key, for: digest, cost: 1) }
    }

    /// The origin of a recently composed document, if it belongs to one of these sources.
    func recentOrigin(_ digest: Digest, among sources: [DigestIndex.Source]) -> ImageOrigin? {
        guard let key = recent.value(digest), let recipe = recipes.recipe(key.recipe) else { return nil }
        let isThere = sources.contains { $0.droplet == key.droplet && $0.base == RecipeStore.Base(of: recipe) }
        return isThere ? ImageOrigin(recipe: recipe, droplet: key.droplet) : nil
    }

    /// The recipe for images on a rootfs version. It is stored before it is used, if the store can be written.
    ///
    /// The first one of a version and its layers stays, whatever its format and the registry's name in it: so an image
    /// that is found by its tag is what it was, also after an upgrade of Cistern.
    /// - Parameter namesBuildpacks: whether the droplet's upload said what buildpacks made it; of base images it makes no
    ///   difference.
    func recipe(
        _ stack: StackName, _ version: VersionName, _ architecture: Architecture, _ family: MediaTypeFamily,
        namesBuildpacks: Bool = false
    ) async throws(ImageError) -> Recipe {
        let key = RecipeKey(
            stack: stack, version: version, architecture: architecture, family: family, namesBuildpacks: namesBuildpacks
        )
        if let recipe = wanted.withLock({ $0[key] }) { return recipe }
        // Concurrent first pulls on a version share one attempt, instead of queueing for the version one after another.
        return try await keeping.value(for: key) { () throws(ImageError) in
            try await rootfs.holding(stack, version, architecture) { (base) throws(ImageError) in
                if let recipe = wanted.withLock({ $0[key] }) { return recipe }
                guard let lifecycle = lifecycle[architecture] else { throw .noLifecycle(architecture) }
                let form = try await form(of: base)
                let newest = Recipe(
                    format: .newest, stack: stack, version: version, architecture: architecture, family: family,
                    rootfs: form.rootfs, base: base.layers, rootfsCreated: base.created, shell: base.shell,
                    lifecycle: lifecycle.layer, delta: form.delta, registry: registry)
                let recipe =
                    recipes.recipes(stack, architecture).first {
                        $0.format.isFor(namesBuildpacks: namesBuildpacks) && $0.hasParts(of: newest)
                    } ?? newest
                if try await recipes.keep(recipe) { wanted.withLock { $0[key] = recipe } }
                return recipe
            }
        }
    }

    /// The layers of images on a version: those of its first recipe; if there is none, those that were frozen; else
    /// those that the policy chooses, which are frozen then.
    private func form(of version: RootfsVersion) async throws(ImageError) -> LayerPlan {
        let first = recipes.recipes(version.stack, version.architecture).first { $0.version == version.version }
        if let first { return LayerPlan(rootfs: first.rootfs, delta: first.delta) }
        return try await rootfs.form(of: version, deltas)
    }
}

extension DropletRecord {
    package func fits(_ recipe: Recipe) -> Bool { recipe.stack == stack && recipe.architecture == architecture }
}

/// The layer with the programs that start an app: `/lifecycle/launch`, and links to it under the names that older pods
/// use.
public struct LifecycleLayer: Sendable {
    package let layer: LayerReference

    /// What a `launch` says in its help if it answers to the name `shell`. An earlier one starts the app under any
    /// other name than those it knows, so its layer stays what it was.
    private static let shellUsage = Data("shell [APP_DIR [COMMAND]]".utf8)

    /// The layer's entries. They are a function of the program alone, so that a program has one layer for ever.
    private static func entries(_ launch: [UInt8]) -> [LayerEntry] {
        var programs = [
            LayerEntry("lifecycle", .directory),
            LayerEntry("lifecycle/launch", .file(launch)),
            LayerEntry("lifecycle/launcher", .symbolicLink(to: "launch"), mode: 0o777),
        ]
        if Data(launch).range(of: shellUsage) != nil {
            programs.append(LayerEntry("lifecycle/shell", .symbolicLink(to: "launch"), mode: 0o777))
        }
        return programs + [
            LayerEntry("usr", .directory),
            LayerEntry("usr/bin", .directory),
            LayerEntry("usr/bin/dumb-init", .symbolicLink(to: "/lifecycle/launch"), mode: 0o777),
        ]
    }

    /// Makes the layer and stores it unless it is there already. Durable on return.
    /// - Parameter launch: the program's bytes.
    public static func install(
        launch: [UInt8], in blobs: BlobStore, store: any ObjectStore
    ) async throws(ImageError) -> LifecycleLayer {
        do throws(any Error) {
            let built = try await buildLayer(entries: entries(launch), sink: BlobLayerSink(blobs: blobs))
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
