import Droplets
import OCI
import Rootfs
import Runtime

// The documents about images. None is made before somebody asks for it.
extension DerivedImages {
    struct MadeReferrers: Sendable {
        let changes: Int
        let referrers: ImageReferrers
    }

    /// What refers to an image.
    func referrers(of origin: ImageOrigin) async throws(ImageError) -> ImageReferrers {
        let key = ImageKey(recipe: origin.recipe.id, droplet: origin.droplet)
        // A version whose packages were not recorded gets them with another import of its file: what was made before that
        // lacks the SBOM.
        let changes = rootfs.packageChanges
        if let known = madeReferrers.value(key), known.changes == changes { return known.referrers }
        guard let version = rootfs.version(of: origin.recipe) else { return .none }
        let referrers = try make(image(of: origin), origin, version, try await sbomReference(of: version))
        madeReferrers.insert(MadeReferrers(changes: changes, referrers: referrers), for: key, cost: referrers.cost)
        remember(referrers.all.flatMap(\.digests), of: key)
        return referrers
    }

    /// What refers to an image, for the index: a damaged package list hides the SBOM and no other document.
    func indexedReferrers(of origin: ImageOrigin) async throws(ImageError) -> [DerivedReferrer] {
        guard let version = rootfs.version(of: origin.recipe) else { return [] }
        var sbom: RootfsSBOM.Reference?
        do { sbom = try await sbomReference(of: version) } catch .damaged {} catch { throw error }
        return try make(origin.compose(), origin, version, sbom).all
    }

    /// What a digest stands for among the documents about an image.
    func referrerContent(_ digest: Digest, of origin: ImageOrigin) async throws(ImageError) -> ReferrerContent? {
        for referrer in try await referrers(of: origin).all {
            if referrer.descriptor.digest == digest { return .manifest(referrer) }
            guard referrer.documentDigest == digest else { continue }
            if let document = referrer.document { return .blob(document) }
            guard let version = rootfs.version(of: origin.recipe) else { return nil }
            return try await sbom(of: version).map { .blob($0.bytes) }
        }
        return nil
    }

    private func make(
        _ image: ComposedImage, _ origin: ImageOrigin, _ version: RootfsVersion, _ sbom: RootfsSBOM.Reference?
    ) throws(ImageError) -> ImageReferrers {
        do { return try ImageReferrers.make(image, origin, on: version, sbom, keys: signingKeys) } catch {
            throw .signing(error)
        }
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
