import Droplets
import OCI
import Rootfs
import Runtime

// The documents about images. Each is made on its first request.
extension DerivedImages {
    struct MadeReferrers: Sendable {
        let changes: Int
        let referrers: ImageReferrers
    }

    /// The documents that refer to an image.
    func referrers(of origin: ImageOrigin) async throws(ImageError) -> ImageReferrers {
        let key = ImageKey(recipe: origin.recipe.id, droplet: origin.droplet)
        // If a version's packages were not recorded, another import of its file may add them, so documents that were
        // made before that lack the SBOM.
        let changes = rootfs.packageChanges
        if let known = madeReferrers.value(key), known.changes == changes { return known.referrers }
        guard let version = rootfs.version(of: origin.recipe) else { return .none }
        let referrers = try make(image(of: origin), origin, version, try await sbomReference(of: version))
        madeReferrers.insert(MadeReferrers(changes: changes, referrers: referrers), for: key, cost: referrers.cost)
        remember(referrers.all.flatMap(\.digests), of: key)
        return referrers
    }

    /// The documents that refer to an image, for the digest index: if the package list is damaged only the SBOM is
    /// missing.
    func indexedReferrers(of origin: ImageOrigin) async throws(ImageError) -> [DerivedReferrer] {
        guard let version = rootfs.version(of: origin.recipe) else { return [] }
        var sbom: RootfsSBOM.Reference?
        do { sbom = try await sbomReference(of: version) } catch .damaged {} catch { throw error }
        return try make(origin.compose(), origin, version, sbom).all
    }

    /// The document or manifest with a digest, among the documents about an image.
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

    /// - Returns: nil if the version's packages are not recorded.
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
    /// The version that a recipe was made for; nil if it is gone or another version has its name now.
    func version(of recipe: Recipe) -> RootfsVersion? {
        guard let version = try? version(recipe.stack, recipe.version, recipe.architecture),
            version.layers == recipe.base
        else { return nil }
        return version
    }
}
