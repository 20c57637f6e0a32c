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
        guard let (recipe, droplet) = try await origin(guid, subject) else { return [] }
        let image = image(recipe, droplet.content)
        // The config's digest is no subject.
        guard image.manifestDigest == subject else { return [] }
        return try await referrers(of: image, recipe, droplet.content).listed
    }

    /// What a digest stands for among the documents about a droplet's images: at once if it was listed of late, else by
    /// a search that is done once as long as droplets and recipes stay the same.
    public func referrerContent(_ guid: DropletGUID, _ digest: Digest) async throws(ImageError) -> ReferrerContent? {
        let records = try await droplets.droplets(of: guid)
        guard digest.algorithm == .sha256, !records.isEmpty else { return nil }
        if digest == DerivedReferrer.emptyConfigDigest { return .blob(DerivedReferrer.emptyConfig) }
        if let key = referrerIndex.origin(digest), let recipe = recipes.recipe(key.recipe),
            let droplet = records.first(where: { $0.content.digest == key.droplet && $0.fits(recipe) }),
            let content = try await content(digest, recipe, droplet.content)
        {
            return content
        }
        let pairs = combinations(of: records)
        var hash = Hasher()
        hash.combine(rootfs.packageChanges)
        for (recipe, droplet) in pairs {
            hash.combine(recipe.id)
            hash.combine(droplet.digest)
        }
        let key = ReferrerIndex.Key(guid: guid, combinations: hash.finalize())
        let places = try await referrerIndex.places(key) { () throws(ImageError) in try await index(pairs) }
        guard let place = places[ReferrerIndex.beginning(digest)], pairs.indices.contains(place) else { return nil }
        return try await content(digest, pairs[place].recipe, pairs[place].droplet)
    }

    /// The documents about a base image of a stack.
    public func baseReferrers(_ stack: StackName, of subject: Digest) async throws(ImageError) -> [DerivedReferrer] {
        for recipe in bases(stack) {
            let base = composeBase(recipe)
            if base.manifestDigest == subject { return try await baseReferrer(base, recipe).map { [$0] } ?? [] }
        }
        return []
    }

    /// What a digest stands for among the documents about a stack's base images.
    public func baseReferrerContent(
        _ stack: StackName, _ digest: Digest
    ) async throws(ImageError) -> ReferrerContent? {
        let recipes = bases(stack)
        guard digest.algorithm == .sha256, !recipes.isEmpty else { return nil }
        if digest == DerivedReferrer.emptyConfigDigest { return .blob(DerivedReferrer.emptyConfig) }
        for recipe in recipes {
            guard
                let referrer = try await readable({ () throws(ImageError) in
                    try await baseReferrer(composeBase(recipe), recipe)
                })
            else { continue }
            if referrer.descriptor.digest == digest { return .manifest(referrer) }
            if referrer.documentDigest == digest, let version = rootfs.version(of: recipe) {
                return try await bill(of: version).map { .blob($0.bytes) }
            }
        }
        return nil
    }

    private func bases(_ stack: StackName) -> [Recipe] {
        Architecture.allCases.flatMap { recipes.recipes(stack, $0).reversed() }
    }

    private func baseReferrer(_ base: ComposedImage, _ recipe: Recipe) async throws(ImageError) -> DerivedReferrer? {
        guard let version = rootfs.version(of: recipe), let reference = try await billReference(of: version) else {
            return nil
        }
        return ImageReferrers.make(base, recipe, reference)
    }
}

// Droplets' images.
extension DerivedImages {
    private func combinations(of records: [DropletRecord]) -> [(recipe: Recipe, droplet: DropletContent)] {
        var pairs: [(recipe: Recipe, droplet: DropletContent)] = []
        for record in records {
            // The youngest recipes first, as with images.
            for recipe in recipes.recipes(record.stack, record.architecture).reversed() {
                guard pairs.count < Self.maximumSearch else { return pairs }
                pairs.append((recipe, record.content))
            }
        }
        return pairs
    }

    private func index(
        _ pairs: [(recipe: Recipe, droplet: DropletContent)]
    ) async throws(ImageError) -> ReferrerIndex.Places {
        var places: ReferrerIndex.Places = [:]
        var bills: [RootfsVersion: RootfsSBOM.Reference?] = [:]
        for (place, pair) in pairs.enumerated() {
            guard let version = rootfs.version(of: pair.recipe) else { continue }
            if bills[version] == nil {
                bills[version] = .some(
                    try await readable { () throws(ImageError) in try await billReference(of: version) })
            }
            let image = compose(pair.recipe, pair.droplet)
            let referrers = try make(image, pair.recipe, pair.droplet, version, bills[version] ?? nil)
            for referrer in referrers.all {
                places[ReferrerIndex.beginning(referrer.descriptor.digest)] = place
                places[ReferrerIndex.beginning(referrer.documentDigest)] = place
            }
            if place % 16 == 15 { await Task.yield() }
        }
        return places
    }

    private func content(
        _ digest: Digest, _ recipe: Recipe, _ droplet: DropletContent
    ) async throws(ImageError) -> ReferrerContent? {
        for referrer in try await referrers(of: image(recipe, droplet), recipe, droplet).all {
            if referrer.descriptor.digest == digest { return .manifest(referrer) }
            if referrer.documentDigest == digest { return referrer.document.map { .blob($0) } }
        }
        return nil
    }

    private func referrers(
        of image: ComposedImage, _ recipe: Recipe, _ droplet: DropletContent
    ) async throws(ImageError) -> ImageReferrers {
        let key = ImageKey(recipe: recipe.id, droplet: droplet.digest)
        // Since a version whose packages were not recorded may get them with another import of its file.
        let changes = rootfs.packageChanges
        if let known = madeReferrers.value(key), known.changes == changes { return known.referrers }
        guard let version = rootfs.version(of: recipe) else { return .none }
        let referrers = try make(image, recipe, droplet, version, try await billReference(of: version))
        madeReferrers.insert(MadeReferrers(changes: changes, referrers: referrers), for: key, cost: referrers.cost)
        referrerIndex.remember(referrers, key)
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
    private func bill(of version: RootfsVersion) async throws(ImageError) -> RootfsSBOM? {
        if let bill = rootfsBills.value(version) { return bill }
        guard let list = try await rootfs.packageList(of: version) else { return nil }
        let bill = RootfsSBOM(version, list)
        rootfsBills.insert(bill, for: version, cost: bill.bytes.count)
        billReferences.insert(bill.reference, for: version, cost: 1)
        return bill
    }

    private func billReference(of version: RootfsVersion) async throws(ImageError) -> RootfsSBOM.Reference? {
        if let reference = billReferences.value(version) { return reference }
        return try await bill(of: version)?.reference
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
