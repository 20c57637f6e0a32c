import Droplets
import OCI
import ObjectStore
import Rootfs
import Runtime

/// Which documents about images a digest may be, so that a known one is found at once and guessing costs little: what a
/// repository's images have is made once, and remembered by a part of the digests.
final class ReferrerIndex: Sendable {
    struct Key: Hashable {
        let guid: DropletGUID
        /// A hash of everything that the repository's images are made of.
        let combinations: Int
    }

    /// The combination of droplet and recipe that a digest belongs to, by the digest's beginning.
    typealias Places = [UInt64: Int]

    private let origins = BoundedCache<Digest, DerivedImages.ImageKey>(maximumCost: 40_000)
    private let places = BoundedCache<Key, Places>(maximumCost: 200_000)
    private let making = SingleFlight<Key, Places>()
    /// Signing all that a large repository has takes a second of a processor.
    private let limit = Limiter(1)

    func remember(_ referrers: ImageReferrers, _ key: DerivedImages.ImageKey) {
        for referrer in referrers.all {
            origins.insert(key, for: referrer.descriptor.digest, cost: 1)
            origins.insert(key, for: referrer.documentDigest, cost: 1)
        }
    }

    /// The image that a document was derived of.
    func origin(_ digest: Digest) -> DerivedImages.ImageKey? { origins.value(digest) }

    func places(
        _ key: Key, _ make: () async throws(ImageError) -> Places
    ) async throws(ImageError) -> Places {
        if let known = places.value(key) { return known }
        return try await making.value(for: key) { () throws(ImageError) in
            if let known = places.value(key) { return known }
            let made = try await limit.run(cancelled: .cancelled, make)
            places.insert(made, for: key, cost: made.count + 16)
            return made
        }
    }

    static func beginning(_ digest: Digest) -> UInt64 { UInt64(digest.hex.prefix(16), radix: 16) ?? 0 }
}
