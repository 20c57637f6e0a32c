import Droplets
import Images
import OCI
import Rootfs

/// Whose a repository is, by its name. The names below `cloudfoundry/` and `cistern/` are reserved for what is derived.
enum Repository: Hashable {
    /// `cloudfoundry/<droplet-guid>`: the images of an app's droplets.
    case droplet(DropletGUID)
    /// `cistern/<stack>`: the rootfs versions of a stack as base images.
    case stack(StackName)
    /// Reserved, and not a name of anything.
    case nothing
    /// A repository of those who push to it.
    case pushed

    init(_ name: RepositoryName) {
        guard name.isReserved else {
            self = .pushed
            return
        }
        let parts = name.text.utf8.split(separator: UInt8(ascii: "/")).map { Substring($0) }
        if parts.count == 2, parts[0] == "cloudfoundry", let guid = try? DropletGUID(parts[1]) {
            self = .droplet(guid)
        } else if parts.count == 2, parts[0] == "cistern", let stack = try? StackName(parts[1]) {
            self = .stack(stack)
        } else {
            self = .nothing
        }
    }

    /// Whether what is there is derived, or may only refer to it.
    var isReserved: Bool { self != .pushed }

    /// The derived image of a reference; nil if there is none.
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
            guard case .manifest(let image)? = try await images.baseContent(stack, digest) else { return nil }
            return image
        case (.nothing, _), (.pushed, _): return nil
        }
    }

    /// The index of a rootfs version with several variants; nil if the reference is not one's, or by a tag the client
    /// wants none.
    /// - Parameter accept: the values of all `Accept` headers.
    func index(
        _ reference: Reference, accept: [String], in images: DerivedImages
    ) async throws(ImageError) -> ComposedIndex? {
        switch (self, reference) {
        case (.stack(let stack), .tag(let tag)):
            guard let family = MediaTypeFamily.ofIndex(accept: accept) else { return nil }
            do { return try await images.baseIndex(stack, tag.text, family) } catch .invalidName { return nil }
        case (.stack(let stack), .digest(let digest)): return images.baseIndex(stack, digest)
        default: return nil
        }
    }

    func content(_ digest: Digest, in images: DerivedImages) async throws(ImageError) -> ImageContent? {
        switch self {
        case .droplet(let guid): try await images.content(guid, digest)
        case .stack(let stack): try await images.baseContent(stack, digest)
        case .nothing, .pushed: nil
        }
    }

    /// The derived documents about an image.
    func referrers(of subject: Digest, in images: DerivedImages) async throws(ImageError) -> [DerivedReferrer] {
        switch self {
        case .droplet(let guid): try await images.referrers(guid, of: subject)
        case .stack(let stack): try await images.baseReferrers(stack, of: subject)
        case .nothing, .pushed: []
        }
    }

    /// What a digest stands for among the derived documents about images.
    func referrerContent(_ digest: Digest, in images: DerivedImages) async throws(ImageError) -> ReferrerContent? {
        switch self {
        case .droplet(let guid): try await images.referrerContent(guid, digest)
        case .stack(let stack): try await images.baseReferrerContent(stack, digest)
        case .nothing, .pushed: nil
        }
    }

    /// The tags of derived images; nil if there is nothing of the name.
    func tags(in images: DerivedImages) async throws(ImageError) -> [String]? {
        switch self {
        case .droplet(let guid):
            do { return try await images.tags(guid) } catch .unknownDroplet { return nil }
        case .stack(let stack):
            do { return try images.baseTags(stack) } catch .unknownStack { return nil }
        case .nothing, .pushed: return nil
        }
    }

    /// Whether clients may point a tag here to a manifest of their own: in reserved repositories only to signatures
    /// and other referrers, in the way of those who know no referrers API (`sha256-<hex>`, `sha256-<hex>.sig` …).
    func takes(_ tag: Tag) -> Bool {
        guard isReserved else { return true }
        let parts = tag.text.split(separator: "-", maxSplits: 1)
        guard self != .nothing, parts.count == 2, let algorithm = DigestAlgorithm(rawValue: String(parts[0])) else {
            return false
        }
        let rest = parts[1].split(separator: ".", maxSplits: 1)
        // A tag has no room for a whole SHA-512.
        return rest.first.map { String($0).utf8.count == 64 && isHexadecimal($0) } ?? false
            && [.sha256, .sha512].contains(algorithm)
    }

    private func isHexadecimal(_ text: Substring) -> Bool {
        text.utf8.allSatisfy { byte in "0123456789abcdef".utf8.contains(byte) }
    }
}
