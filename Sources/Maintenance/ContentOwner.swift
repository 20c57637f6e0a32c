package import Blobs
package import Images
package import OCI
package import ObjectStore
package import Records
package import Registry
import Rootfs

/// Somebody who owns content in the store: pushed repositories, droplets, rootfs versions, recipes.
///
/// It is asked by what keeps the store in order. A collection lets it `retire` what is no longer wanted, then leaves what
/// it names as its `roots`; a count adds up its `usage`; a verification looks at its `records`, and asks for the `users` of
/// what is damaged.
package protocol ContentOwner: Sendable {
    /// Where its records are, and of what kinds.
    var records: [RecordFolder] { get }

    /// Marks every digest that must stay. What is referred to later has a lease that is younger than the mark, so it need
    /// not be met.
    func roots(_ mark: inout RootMark) async throws

    /// Tells a count what its repositories hold.
    /// - Parameter reading: read past any cache: a count must not push what is in use out of it.
    func usage(_ count: QuotaCount, in reading: any ObjectStore) async throws

    /// What of its own needs some of these digests. A digest with many users may be listed with a few of them.
    func users(of digests: Set<Digest>) async throws -> [ContentUser]

    /// Takes out what the policy no longer wants. Its bytes go with the collection that follows.
    func retire(_ retirement: inout Retirement) async throws

    /// Holds its records against each other.
    func verify(_ verification: inout VerificationRun) async throws
}

extension ContentOwner {
    package func usage(_ count: QuotaCount, in reading: any ObjectStore) async throws {}
    package func users(of digests: Set<Digest>) async throws -> [ContentUser] { [] }
    package func retire(_ retirement: inout Retirement) async throws {}
    /// Looks whether each record can be read.
    package func verify(_ verification: inout VerificationRun) async throws { try await verification.check(records) }
}

/// What needs a digest.
package struct ContentUser: Hashable, Sendable {
    package let digest: Digest
    /// For an operator to read: `droplet <guid>/<hash>`, `<repository>@<digest>` …
    package let name: String

    package init(_ digest: Digest, _ name: String) {
        self.digest = digest
        self.name = name
    }
}

/// All who own content in a store.
package struct ContentOwners: Sendable {
    package let all: [any ContentOwner]

    package init(registry: Registry, images: DerivedImages, pins: RunningImages) {
        all = [
            AppDroplets(images: images), RootfsVersions(images: images), ImageRecipes(images: images),
            PushedRepositories(registry: registry), pins,
        ]
    }

    /// - Parameter all: asked in this order.
    package init(_ all: [any ContentOwner]) { self.all = all }
}
