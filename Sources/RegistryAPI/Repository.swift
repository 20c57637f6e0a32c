import Images
import OCI

/// Whose repository a name is. The names below `cloudfoundry/` and `cistern/` are reserved for what is derived.
enum Repository: Hashable {
    /// `cloudfoundry/<droplet-guid>`: the images of an app's droplets.
    case droplet(DropletGUID)
    /// `cistern/<stack>`: the rootfs versions of a stack as base images.
    case stack(StackName)

    /// - Throws: `.nameUnknown` for every other name.
    init(_ name: RepositoryName) throws(RegistryFailure) {
        let parts = name.text.utf8.split(separator: UInt8(ascii: "/")).map { Substring($0) }
        if parts.count == 2, parts[0] == "cloudfoundry", let guid = try? DropletGUID(parts[1]) {
            self = .droplet(guid)
        } else if parts.count == 2, parts[0] == "cistern", let stack = try? StackName(parts[1]) {
            self = .stack(stack)
        } else {
            throw .nameUnknown("there is no repository '\(name)'")
        }
    }

    func image(
        _ reference: Reference, _ family: MediaTypeFamily, in images: DerivedImages
    ) async throws(ImageError) -> ComposedImage? {
        switch (self, reference) {
        case (.droplet(let guid), .tag(let tag)):
            guard let tag = DropletTag(tag) else { return nil }
            return try await images.image(guid, tag, family)
        case (.droplet(let guid), .digest(let digest)): return try await images.image(guid, digest)
        case (.stack(let stack), .tag(let tag)):
            // A tag may be what no version can be called.
            do { return try await images.base(stack, tag.text, family) } catch .invalidName { return nil }
        case (.stack(let stack), .digest(let digest)):
            guard case .manifest(let image)? = images.baseContent(stack, digest) else { return nil }
            return image
        }
    }

    func content(_ digest: Digest, in images: DerivedImages) async throws(ImageError) -> ImageContent? {
        switch self {
        case .droplet(let guid): try await images.content(guid, digest)
        case .stack(let stack): images.baseContent(stack, digest)
        }
    }

    func tags(in images: DerivedImages) async throws -> [String] {
        switch self {
        case .droplet(let guid):
            do { return try await images.tags(guid) } catch .unknownDroplet {
                throw RegistryFailure.nameUnknown("there is no droplet of \(guid)")
            }
        case .stack(let stack):
            do { return try images.baseTags(stack) } catch .unknownStack {
                throw RegistryFailure.nameUnknown("there is no stack \(stack)")
            }
        }
    }
}
