public import Droplets
import Layers
public import OCI
public import Rootfs

// The names below `cloudfoundry/` and `cistern/` are reserved. All other repositories are for clients to push to.

extension RepositoryName {
    /// Whether the name belongs to derived images, so that clients can't push images to it.
    public var isReserved: Bool {
        let text = text.utf8
        // The prefix is compared before the name is split, since each request asks this and most names differ early.
        guard text.starts(with: "cloudfoundry".utf8) || text.starts(with: "cistern".utf8) else { return false }
        let first = Substring(text.prefix { $0 != UInt8(ascii: "/") })
        return first == "cloudfoundry" || first == "cistern"
    }
}

/// A droplet image's tag: `<droplet-hash>` (on the stack's current rootfs) or `<droplet-hash>-<rootfs-version>`.
public struct DropletTag: Hashable, Sendable {
    public let hash: DropletHash
    /// nil: the version that is current.
    public let version: VersionName?

    public init(hash: DropletHash, version: VersionName?) {
        self.hash = hash
        self.version = version
    }

    /// - Returns: nil for a tag that can't be a droplet's.
    public init?(_ tag: Tag) {
        let parts = tag.text.utf8.split(separator: UInt8(ascii: "-"), maxSplits: 1, omittingEmptySubsequences: false)
            .map { Substring($0) }
        guard let hash = DropletHash(parts[0]) else { return nil }
        self.hash = hash
        if parts.count == 2 {
            guard let version = try? VersionName(parts[1]) else { return nil }
            self.version = version
        } else {
            self.version = nil
        }
    }
}

/// A repository whose images are derived: `cloudfoundry/<droplet-guid>` has the images of an app's droplets,
/// `cistern/<stack>` has a stack's rootfs versions as base images.
///
/// Both find images in the same way, by composing a recipe with a droplet or with none. The `Registry` keeps what
/// clients push beside the images, such as signatures and SBOMs; this type does not know of it.
public struct DerivedRepository: Sendable {
    enum Kind {
        case droplets(DropletGUID)
        case versions(StackName)
    }

    let kind: Kind
    let images: DerivedImages

    /// - Returns: nil for a repository that clients push to, and for a name that `isUnassigned`.
    public init?(_ name: RepositoryName, in images: DerivedImages) {
        guard let kind = Self.kind(name) else { return nil }
        self.kind = kind
        self.images = images
    }

    /// Whether a name is reserved but is no repository's: nothing exists there, and nothing can be pushed there.
    public static func isUnassigned(_ name: RepositoryName) -> Bool { name.isReserved && kind(name) == nil }

    private static func kind(_ name: RepositoryName) -> Kind? {
        guard name.isReserved else { return nil }
        let parts = name.text.utf8.split(separator: UInt8(ascii: "/")).map { Substring($0) }
        guard parts.count == 2 else { return nil }
        if parts[0] == "cloudfoundry" { return (try? DropletGUID(parts[1])).map { .droplets($0) } }
        return (try? StackName(parts[1])).map { .versions($0) }
    }

    /// Whether clients may push this tag: only tags of signatures and other referrers, as clients without the referrers
    /// API name them (`sha256-<hex>`, `sha256-<hex>.sig` …).
    public func takes(_ tag: Tag) -> Bool {
        let parts = tag.text.split(separator: "-", maxSplits: 1)
        guard parts.count == 2, let algorithm = DigestAlgorithm(rawValue: String(parts[0])),
            let hex = parts[1].split(separator: ".", maxSplits: 1).first
        else { return false }
        // A tag has at most 128 characters, so clients cut a SHA-512 to 64 digits.
        return [.sha256, .sha512].contains(algorithm) && hex.utf8.count == 64
            && hex.utf8.allSatisfy { "0123456789abcdef".utf8.contains($0) }
    }
}

/// A manifest or an index that is derived, exactly as it is served.
public struct DerivedManifest: Hashable, Sendable {
    public let mediaType: MediaType
    public let bytes: [UInt8]
    public let digest: Digest
}

/// What a blob's digest stands for in a repository of derived images.
public enum DerivedContent: Hashable, Sendable {
    /// A config, or a document about an image.
    case document([UInt8])
    /// A layer, whose bytes are a blob.
    case layer(size: Int64)
}

/// What a digest stands for among the referrers of derived images.
public enum ReferrerContent: Hashable, Sendable {
    case manifest(DerivedReferrer)
    /// A document, or the empty config that all of them share.
    case blob([UInt8])
}

extension DerivedRepository {
    /// The image or the index that a reference stands for; nil if there is none.
    ///
    /// An image is found by digest as long as its recipe and its droplet exist, an index as long as its version exists.
    /// - Throws: for a tag `.unknownDroplet`, `.unknownStack`, `.unknownVersion`, `.nothingPromoted`, `.noVariant`,
    ///   `.noLifecycle`.
    public func manifest(
        _ reference: Reference, _ accepted: AcceptedFamilies
    ) async throws(ImageError) -> DerivedManifest? {
        switch (kind, reference) {
        case (.droplets(let guid), .tag(let tag)):
            guard let tag = DropletTag(tag) else { return nil }
            return try await images.image(guid, tag, accepted.image).served
        case (.versions(let stack), .tag(let tag)):
            // A tag that is no valid version name may belong to a pushed manifest.
            do { return try await images.base(stack, tag.text, accepted) } catch .invalidName { return nil }
        case (_, .digest(let digest)):
            if case .versions(let stack) = kind, let index = images.baseIndex(stack, digest) { return index }
            guard let image = try await image(of: digest), image.manifestDigest == digest else { return nil }
            return image.served
        }
    }

    /// What a blob's digest stands for: an image's config or layer.
    public func content(_ digest: Digest) async throws(ImageError) -> DerivedContent? {
        if let layer = try await layer(digest) { return .layer(size: layer.size) }
        guard let image = try await image(of: digest), image.configDigest == digest else { return nil }
        return .document(image.config)
    }

    /// The documents about an image, in no particular order.
    /// - Parameter subject: the digest of an image's manifest, in either media-type family; of others there are no
    ///   documents.
    public func referrers(of subject: Digest) async throws(ImageError) -> [DerivedReferrer] {
        guard let origin = try await origin(of: subject), images.image(of: origin).manifestDigest == subject else {
            return []
        }
        return try await images.referrers(of: origin).listed
    }

    /// The document or manifest with a digest, among the documents about images.
    ///
    /// An unknown digest costs more here than in `manifest` and `content`, so callers try those first.
    public func referrerContent(_ digest: Digest) async throws(ImageError) -> ReferrerContent? {
        if digest == DerivedReferrer.emptyConfigDigest, try await exists { return .blob(DerivedReferrer.emptyConfig) }
        guard let origin = try await referrerOrigin(of: digest) else { return nil }
        return try await images.referrerContent(digest, of: origin)
    }

    /// The origin of the image that a document, or a document's manifest, with this digest is about.
    func referrerOrigin(of digest: Digest) async throws(ImageError) -> ImageOrigin? {
        let sources = try await sources(packageChanges: images.rootfs.packageChanges)
        guard digest.algorithm == .sha256, !sources.isEmpty else { return nil }
        if let origin = images.recentOrigin(digest, among: sources),
            try await images.referrerContent(digest, of: origin) != nil
        {
            return origin
        }
        return try await images.referrerDigests.find(
            digest, in: sources,
            deriving: { (origin) throws(ImageError) in
                try await images.indexedReferrers(of: origin).flatMap(\.digests)
            },
            where: { (origin) throws(ImageError) in
                try await images.referrers(of: origin).all.contains { $0.digests.contains(digest) }
            })
    }

    /// One page of the tags of all images, in byte order: each droplet by itself and on each rootfs version of its stack,
    /// or each rootfs version.
    /// - Parameter last: the tag after which the page begins; nil for the first page.
    /// - Returns: at most `limit` tags, fewer only if there are no more; nil if there is no such droplet or stack.
    public func tags(after last: String?, limit: Int) async throws(ImageError) -> [String]? {
        var tags: [String] = []
        func add(_ tag: String) {
            if tags.count < limit, last.map({ $0.utf8.lexicographicallyPrecedes(tag.utf8) }) ?? true {
                tags.append(tag)
            }
        }
        switch kind {
        case .droplets(let guid):
            let records = try await images.droplets.droplets(of: guid)
            guard !records.isEmpty else { return nil }
            var versions: [StackName: [Architecture: [String]]] = [:]
            // Hashes are of one length, so droplets in their order give tags in theirs.
            let first = last.map { Array($0.utf8.prefix(records[0].hash.utf8.count)) } ?? []
            let sorted = records.sorted { $0.hash < $1.hash }
            for record in sorted where tags.count < limit && !record.hash.utf8.lexicographicallyPrecedes(first) {
                if versions[record.stack] == nil { versions[record.stack] = versionNames(record.stack) }
                let names = versions[record.stack]?[record.architecture] ?? []
                if let current = images.rootfs.history(record.stack)?.current, names.contains(current.text) {
                    add(record.hash)
                }
                for name in names { add("\(record.hash)-\(name)") }
            }
        case .versions(let stack):
            guard let versions = try? images.rootfs.versions(stack) else { return nil }
            var names = Set(versions.map(\.version.text))
            if images.rootfs.history(stack) != nil { names.insert("current") }
            for name in names.sorted(by: Self.isBefore) { add(name) }
        }
        return tags
    }

    /// The names of a stack's versions in byte order, by the architectures of their variants.
    private func versionNames(_ stack: StackName) -> [Architecture: [String]] {
        let versions = (try? images.rootfs.versions(stack)) ?? []
        return Dictionary(grouping: versions, by: \.architecture)
            .mapValues { $0.map(\.version.text).sorted(by: Self.isBefore) }
    }

    private static func isBefore(_ left: String, _ right: String) -> Bool {
        left.utf8.lexicographicallyPrecedes(right.utf8)
    }
}

// How documents are found by digest.
extension DerivedRepository {
    /// The image whose manifest or config has a digest.
    func image(of digest: Digest) async throws(ImageError) -> ComposedImage? {
        try await origin(of: digest).map { images.image(of: $0) }
    }

    /// The origin of the image whose manifest or config has a digest.
    func origin(of digest: Digest) async throws(ImageError) -> ImageOrigin? {
        let sources = try await sources()
        if let origin = images.recentOrigin(digest, among: sources) { return origin }
        return try await images.imageDigests.find(
            digest, in: sources,
            deriving: { (origin) throws(ImageError) in origin.compose().digests },
            where: { (origin) throws(ImageError) in origin.compose().digests.contains(digest) })
    }

    /// What this repository's images are composed of besides recipes; empty if there is no such droplet or stack.
    private func sources(packageChanges: Int = 0) async throws(ImageError) -> [DigestIndex.Source] {
        switch kind {
        case .droplets(let guid):
            try await images.droplets.droplets(of: guid).map {
                DigestIndex.Source(
                    droplet: $0.content, base: RecipeStore.Base(stack: $0.stack, architecture: $0.architecture),
                    packageChanges: packageChanges)
            }
        case .versions(let stack):
            Architecture.allCases.map { RecipeStore.Base(stack: stack, architecture: $0) }
                .filter { images.recipes.next($0) > 0 }
                .map { DigestIndex.Source(droplet: nil, base: $0, packageChanges: packageChanges) }
        }
    }

    /// The layer with a digest. A droplet image's layer is found as long as a recipe or the droplet names it, a base
    /// image's layer as long as its version exists.
    private func layer(_ digest: Digest) async throws(ImageError) -> LayerReference? {
        switch kind {
        case .droplets(let guid):
            for droplet in try await images.droplets.droplets(of: guid) {
                let own = droplet.content.layers.first { $0.digest == digest }
                if let layer = own ?? images.recipes.layer(droplet.stack, droplet.architecture, digest) { return layer }
            }
        case .versions(let stack):
            for version in (try? images.rootfs.versions(stack)) ?? [] {
                if let layer = version.layers.first(where: { $0.digest == digest }) { return layer }
            }
        }
        return nil
    }
}
