public import Droplets
public import OCI
import ObjectStore
public import Rootfs
import Runtime

/// What a digest stands for among the documents about derived images.
public enum ReferrerContent: Hashable, Sendable {
    case manifest(DerivedReferrer)
    /// A document, or the empty config that all of them share.
    case blob([UInt8])
}

// Nothing of this is made before somebody asks for it.
extension DerivedImages {
    /// The documents about an image of a droplet's repository, in no order.
    /// - Parameter subject: the image's manifest, of either media-type family; of others there are none.
    public func referrers(_ guid: DropletGUID, of subject: Digest) async throws(ImageError) -> [DerivedReferrer] {
        guard let origin = try await origin(guid, subject) else { return [] }
        // The config's digest is no subject.
        guard image(origin.recipe, origin.droplet).manifestDigest == subject else { return [] }
        return try await referrers(of: origin).listed
    }

    /// What a digest stands for among the documents about a droplet's images.
    public func referrerContent(_ guid: DropletGUID, _ digest: Digest) async throws(ImageError) -> ReferrerContent? {
        let records = try await droplets.droplets(of: guid)
        guard digest.algorithm == .sha256, !records.isEmpty else { return nil }
        if digest == DerivedReferrer.emptyConfigDigest { return .blob(DerivedReferrer.emptyConfig) }
        if let origin = recentOrigin(digest, among: records),
            let content = try await referrers(of: origin).content(digest)
        {
            return content
        }
        let found = try await referrerDigests.find(
            digest, in: sources(records, packageChanges: rootfs.packageChanges),
            deriving: { (recipe, source) throws(ImageError) in
                try await indexedReferrers(recipe, source).flatMap { [$0.descriptor.digest, $0.documentDigest] }
            },
            where: { (recipe, source) throws(ImageError) in
                guard let droplet = source.droplet else { return false }
                return try await referrers(of: Origin(recipe: recipe, droplet: droplet)).content(digest) != nil
            })
        guard let found, let droplet = found.source.droplet else { return nil }
        return try await referrers(of: Origin(recipe: found.recipe, droplet: droplet)).content(digest)
    }

    /// The documents about a base image of a stack.
    public func baseReferrers(_ stack: StackName, of subject: Digest) async throws(ImageError) -> [DerivedReferrer] {
        guard let recipe = try await baseOrigin(stack, subject) else { return [] }
        let base = composeBase(recipe)
        guard base.manifestDigest == subject else { return [] }
        return try await baseReferrer(base, recipe).map { [$0] } ?? []
    }

    /// What a digest stands for among the documents about a stack's base images.
    public func baseReferrerContent(
        _ stack: StackName, _ digest: Digest
    ) async throws(ImageError) -> ReferrerContent? {
        let sources = baseSources(stack, packageChanges: rootfs.packageChanges)
        guard digest.algorithm == .sha256, sources.contains(where: { recipes.next($0.base) > 0 }) else { return nil }
        if digest == DerivedReferrer.emptyConfigDigest { return .blob(DerivedReferrer.emptyConfig) }
        func referrer(_ recipe: Recipe) async throws(ImageError) -> DerivedReferrer? {
            try await readable { () throws(ImageError) in try await baseReferrer(composeBase(recipe), recipe) }
        }
        let found = try await referrerDigests.find(
            digest, in: sources,
            deriving: { (recipe, _) throws(ImageError) in
                try await referrer(recipe).map { [$0.descriptor.digest, $0.documentDigest] } ?? []
            },
            where: { (recipe, _) throws(ImageError) in
                guard let referrer = try await referrer(recipe) else { return false }
                return [referrer.descriptor.digest, referrer.documentDigest].contains(digest)
            })
        guard let recipe = found?.recipe, let referrer = try await referrer(recipe) else { return nil }
        if referrer.descriptor.digest == digest { return .manifest(referrer) }
        guard let version = rootfs.version(of: recipe) else { return nil }
        return try await sbom(of: version).map { .blob($0.bytes) }
    }

    private func baseReferrer(_ base: ComposedImage, _ recipe: Recipe) async throws(ImageError) -> DerivedReferrer? {
        guard let version = rootfs.version(of: recipe), let reference = try await sbomReference(of: version) else {
            return nil
        }
        return ImageReferrers.make(base, recipe, reference)
    }
}

// Droplets' images.
extension DerivedImages {
    /// What refers to an image, for the index: a damaged package list hides no other document.
    private func indexedReferrers(
        _ recipe: Recipe, _ source: DigestIndex.Source
    ) async throws(ImageError) -> [DerivedReferrer] {
        guard let droplet = source.droplet, let version = rootfs.version(of: recipe) else { return [] }
        let sbom = try await readable { () throws(ImageError) in try await sbomReference(of: version) }
        return try make(compose(recipe, droplet), recipe, droplet, version, sbom).all
    }

    private func referrers(of origin: Origin) async throws(ImageError) -> ImageReferrers {
        let (recipe, droplet) = (origin.recipe, origin.droplet)
        let key = ImageKey(recipe: recipe.id, droplet: droplet)
        // Since a version whose packages were not recorded may get them with another import of its file.
        let changes = rootfs.packageChanges
        if let known = madeReferrers.value(key), known.changes == changes { return known.referrers }
        guard let version = rootfs.version(of: recipe) else { return .none }
        let referrers = try make(
            image(recipe, droplet), recipe, droplet, version, try await sbomReference(of: version))
        madeReferrers.insert(MadeReferrers(changes: changes, referrers: referrers), for: key, cost: referrers.cost)
        remember(referrers.all.flatMap { [$0.descriptor.digest, $0.documentDigest] }, of: key)
        return referrers
    }

    private func make(
        _ image: ComposedImage, _ recipe: Recipe, _ droplet: DropletContent, _ version: RootfsVersion,
        _ sbom: RootfsSBOM.Reference?
    ) throws(ImageError) -> ImageReferrers {
        do {
            return try ImageReferrers.make(image, recipe, droplet, on: version, sbom, keys: signingKeys)
        } catch { throw .signing(error) }
    }
}

// The rootfs' own documents.
extension DerivedImages {
    struct MadeReferrers: Sendable {
        let changes: Int
        let referrers: ImageReferrers
    }

    /// nil if the version's packages are not recorded.
    private func sbom(of version: RootfsVersion) async throws(ImageError) -> RootfsSBOM? {
        if let sbom = rootfsSBOMs.value(version) { return sbom }
        guard let list = try await rootfs.packageList(of: version) else { return nil }
        let sbom = RootfsSBOM(version, list)
        rootfsSBOMs.insert(sbom, for: version, cost: sbom.bytes.count)
        sbomReferences.insert(sbom.reference, for: version, cost: 1)
        return sbom
    }

    private func sbomReference(of version: RootfsVersion) async throws(ImageError) -> RootfsSBOM.Reference? {
        if let reference = sbomReferences.value(version) { return reference }
        return try await sbom(of: version)?.reference
    }

    /// One damaged record must not hide what can be found.
    private func readable<Value>(
        _ body: () async throws(ImageError) -> Value?
    ) async throws(ImageError) -> Value? {
        do { return try await body() } catch .damaged { return nil } catch { throw error }
    }
}

extension RootfsCatalog {
    /// The version that a recipe was made for; nil if it is gone, or another one has its name.
    func version(of recipe: Recipe) -> RootfsVersion? {
        guard let version = try? version(recipe.stack, recipe.version, recipe.architecture),
            version.layers == recipe.base
        else { return nil }
        return version
    }
}

extension ImageReferrers {
    func content(_ digest: Digest) -> ReferrerContent? {
        for referrer in all {
            if referrer.descriptor.digest == digest { return .manifest(referrer) }
            if referrer.documentDigest == digest { return referrer.document.map { .blob($0) } }
        }
        return nil
    }
}
