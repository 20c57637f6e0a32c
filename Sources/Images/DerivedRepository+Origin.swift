public import Droplets
import JSON
import Layers
public import OCI
public import Rootfs

/// What something derived goes with: it can't be deleted by itself.
public enum DerivedOrigin: Hashable, Sendable, CustomStringConvertible {
    case droplet(DropletGUID, hash: String)
    case version(StackName, VersionName)

    /// What it is, and how to remove it.
    public var description: String {
        switch self {
        case .droplet(let guid, let hash):
            "the droplet \(hash) of \(guid) (`cistern droplet remove --guid \(guid) --hash \(hash)`)"
        case .version(let stack, let version):
            "rootfs version \(version) of \(stack) (`cistern rootfs remove --stack \(stack) --version \(version)`)"
        }
    }
}

extension DerivedRepository {
    /// Whether anything is derived here: the app has a droplet, or the stack a version.
    public var exists: Bool {
        get async throws(ImageError) {
            switch kind {
            case .droplets(let guid): try await !images.droplets.droplets(of: guid).isEmpty
            case .versions(let stack): (try? images.rootfs.versions(stack)) != nil
            }
        }
    }

    /// What the image, the index or the document's manifest that a reference stands for goes with; nil if there is none.
    /// - Throws: as `manifest`.
    public func derivedOrigin(of reference: Reference) async throws(ImageError) -> DerivedOrigin? {
        guard case .digest(let digest) = reference else {
            guard let manifest = try await manifest(reference, AcceptedFamilies(image: .oci, index: .oci)) else {
                return nil
            }
            return try await derivedOrigin(of: .digest(manifest.digest))
        }
        if let origin = try await origin(of: digest), images.image(of: origin).manifestDigest == digest {
            return named(origin)
        }
        if case .versions(let stack) = kind, let index = images.baseIndex(stack, digest) {
            let children = (try? Index(json: JSONValue(parsing: index.bytes)))?.manifests ?? []
            guard let child = children.first else { return nil }
            return try await origin(of: child.digest).map(named)
        }
        return try await referrerOrigin(of: digest).map(named)
    }

    /// What a config, a layer or a document goes with; nil if there is none.
    public func derivedOrigin(ofBlob digest: Digest) async throws(ImageError) -> DerivedOrigin? {
        switch kind {
        case .droplets(let guid):
            for droplet in try await images.droplets.droplets(of: guid) {
                let own = DerivedOrigin.droplet(guid, hash: droplet.hash)
                if droplet.content.layers.contains(where: { $0.digest == digest }) { return own }
                guard images.recipes.layer(droplet.stack, droplet.architecture, digest) != nil else { continue }
                let recipe = images.recipes.recipes(droplet.stack, droplet.architecture).first { recipe in
                    (recipe.rootfs + recipe.base + recipe.delta).contains { $0.digest == digest }
                }
                // The lifecycle layer is not a version's.
                return recipe.map { .version($0.stack, $0.version) } ?? own
            }
        case .versions(let stack):
            for version in (try? images.rootfs.versions(stack)) ?? []
            where version.layers.contains(where: { $0.digest == digest }) {
                return .version(stack, version.version)
            }
        }
        if let origin = try await origin(of: digest) { return named(origin) }
        return try await referrerOrigin(of: digest).map(named)
    }

    private func named(_ origin: ImageOrigin) -> DerivedOrigin {
        if case .droplets(let guid) = kind, let droplet = origin.droplet {
            return .droplet(guid, hash: droplet.digest.hex)
        }
        return .version(origin.recipe.stack, origin.recipe.version)
    }
}
