import Droplets
public import OCI
public import Rootfs

/// Which repositories of derived images there are, and which of them have one that can be pulled.
public struct DerivedCatalog: Sendable {
    private let images: DerivedImages
    /// What there are rootfs versions of, when this was made.
    private let bases: Set<RecipeStore.Base>
    /// All stacks, sorted.
    public let stacks: [StackName]

    public init(_ images: DerivedImages) {
        self.images = images
        stacks = images.rootfs.stacks
        bases = Set(
            stacks.flatMap { (try? images.rootfs.versions($0)) ?? [] }
                .map { RecipeStore.Base(stack: $0.stack, architecture: $0.architecture) })
    }

    /// The guids of apps that have droplets, in byte order.
    public func apps(after guid: String?, limit: Int) async throws(ImageError) -> [String] {
        try await images.droplets.apps(after: guid, limit: limit)
    }

    /// Whether a repository has a derived image: an app with a droplet for whose stack and architecture there is a
    /// version, or a stack with a version.
    public func hasImage(_ name: RepositoryName) async throws(ImageError) -> Bool {
        switch DerivedRepository(name, in: images)?.kind {
        case .droplets(let guid)?:
            try await images.droplets.hasDroplet(of: guid) {
                bases.contains(RecipeStore.Base(stack: $0.stack, architecture: $0.architecture))
            }
        case .versions(let stack)?: bases.contains { $0.stack == stack }
        case nil: false
        }
    }
}
