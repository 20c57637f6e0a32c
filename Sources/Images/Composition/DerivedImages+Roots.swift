import Droplets
import Layers
public import OCI
public import Rootfs
import Synchronization

extension DerivedImages {
    /// Everything that images are made of, in portions: what a garbage collector must leave.
    ///
    /// Droplets with their layers and their original bytes, the layers of rootfs versions and the deltas between them,
    /// those of recipes, and of the lifecycle that new recipes get.
    public var roots: AsyncThrowingStream<[Digest], any Error> {
        let pages = DropletPages(droplets: droplets)
        let fixed = FixedRoots(lifecycle.values.map(\.layer.digest) + rootfs.digests + recipes.digests)
        return AsyncThrowingStream {
            if let digests = await fixed.take() { return digests }
            return try await pages.next()
        }
    }
}

extension DerivedImages {
    /// The droplets and rootfs versions that digests belong to, for an operator to read.
    public func users(of digests: Set<Digest>) async throws(ImageError) -> [(digest: Digest, user: String)] {
        var users: [(digest: Digest, user: String)] = []
        for stack in rootfs.stacks {
            for version in (try? rootfs.versions(stack)) ?? [] {
                for layer in version.layers where digests.contains(layer.digest) {
                    users.append((layer.digest, "rootfs \(stack) \(version.version) (\(version.architecture))"))
                }
            }
        }
        for delta in rootfs.allDeltas where digests.contains(delta.layer.digest) {
            users.append(
                (
                    delta.layer.digest,
                    "rootfs delta \(delta.stack) \(delta.from) to \(delta.to) (\(delta.architecture))"
                ))
        }
        for (architecture, layer) in lifecycle where digests.contains(layer.layer.digest) {
            users.append((layer.layer.digest, "the lifecycle layer (\(architecture))"))
        }
        var after: String?
        repeat {
            let page = try await droplets.list(startAfter: after, limit: 500)
            for droplet in page.records {
                for digest in [droplet.content.digest] + droplet.content.layers.map(\.digest)
                where digests.contains(digest) {
                    users.append((digest, "droplet \(droplet.guid)/\(droplet.hash)"))
                }
            }
            after = page.next
        } while after != nil
        return users
    }
}

private actor FixedRoots {
    private var digests: [Digest]?

    init(_ digests: [Digest]) { self.digests = digests }

    func take() -> [Digest]? {
        defer { digests = nil }
        return digests
    }
}

/// All droplets, page by page.
private actor DropletPages {
    private static let size = 500

    private let droplets: DropletCatalog
    private var after: String?
    private var isOver = false

    init(droplets: DropletCatalog) { self.droplets = droplets }

    func next() async throws -> [Digest]? {
        guard !isOver else { return nil }
        let page = try await droplets.list(startAfter: after, limit: Self.size)
        after = page.next
        isOver = page.next == nil
        return page.records.flatMap { [$0.content.digest] + $0.content.layers.map(\.digest) }
    }
}

extension RootfsCatalog {
    /// The layers of all versions, the deltas between them, and what images on them are made of.
    var digests: [Digest] {
        stacks.flatMap { stack in ((try? versions(stack)) ?? []).flatMap { $0.layers.map(\.digest) } }
            + allDeltas.map(\.layer.digest) + allForms.flatMap { ($0.rootfs + $0.delta).map(\.digest) }
    }
}

extension RecipeStore {
    /// The layers that recipes name.
    var digests: [Digest] {
        state.withLock { $0.byID.values.flatMap { ($0.rootfs + $0.base + [$0.lifecycle] + $0.delta).map(\.digest) } }
    }
}
