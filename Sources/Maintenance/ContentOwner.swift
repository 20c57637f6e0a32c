package import Bits
package import Blobs
package import Images
package import OCI
package import ObjectStore
package import Records
package import Registry
package import Rootfs

/// A part of Cistern that owns content in the store: pushed repositories, droplets, rootfs versions, recipes.
///
/// Maintenance calls it. A collection lets it `retire` what is no longer wanted, then keeps what it names as its
/// `roots`; a count sums up its `usage`; a verification checks its `records`, and asks for the `users` of damaged
/// blobs.
package protocol ContentOwner: Sendable {
    /// The folders of its records, with their kinds.
    var records: [RecordFolder] { get }

    /// Marks every digest that must stay. Content that is referred to only later may be missed, since its lease is
    /// younger than the mark.
    func roots(_ mark: inout RootMark) async throws

    /// Reports to a count how many bytes its repositories hold.
    /// - Parameter reading: a store without a cache, since a count would evict what is in use.
    func usage(_ count: QuotaCount, in reading: any ObjectStore) async throws

    /// Its objects that need some of these digests. For a digest with many users a few of them are enough.
    func users(of digests: Set<Digest>) async throws -> [ContentUser]

    /// Removes what the policy no longer wants. The collection that follows deletes its bytes.
    func retire(_ retirement: inout Retirement) async throws

    /// Checks its records against each other.
    func verify(_ verification: inout VerificationRun) async throws
}

extension ContentOwner {
    package func usage(_ count: QuotaCount, in reading: any ObjectStore) async throws {}
    package func users(of digests: Set<Digest>) async throws -> [ContentUser] { [] }
    package func retire(_ retirement: inout Retirement) async throws {}
    /// By default checks only that each record can be read.
    package func verify(_ verification: inout VerificationRun) async throws { try await verification.check(records) }
}

/// An object that needs a digest.
package struct ContentUser: Hashable, Sendable {
    package let digest: Digest
    /// A name for operators: `droplet <guid>/<hash>`, `<repository>@<digest>` …
    package let name: String

    package init(_ digest: Digest, _ name: String) {
        self.digest = digest
        self.name = name
    }
}

/// All owners of content in a store.
package struct ContentOwners: Sendable {
    package let all: [any ContentOwner]

    package init(
        registry: Registry, images: DerivedImages, builds: BuildRootfsCatalog, bits: BitsCatalog,
        others: [any ContentOwner] = []
    ) {
        all =
            [
                AppDroplets(images: images), AppBits(bits: bits), RootfsVersions(images: images),
                BuildRootfsVersions(builds), ImageRecipes(images: images), PushedRepositories(registry: registry),
                ClusterReports(),
            ] + others
    }

    /// - Parameter all: the owners, in the order in which they are called.
    package init(_ all: [any ContentOwner]) { self.all = all }
}
