import Droplets
import OCI
import ObjectStore
import Runtime

/// What is known of the digests of composed documents, so that a pull by digest right after one by tag searches nothing,
/// and guessing costs little.
final class FoundDigests: Sendable {
    /// A digest asked for in a droplet's repository.
    struct Question: Hashable {
        let guid: DropletGUID
        let digest: Digest
    }

    private let origins = BoundedCache<Digest, DerivedImages.ImageKey>(maximumCost: 40_000)
    private let misses = BoundedCache<Question, Int>(maximumCost: 20_000)

    func remember(_ image: ComposedImage, _ key: DerivedImages.ImageKey) {
        origins.insert(key, for: image.manifestDigest, cost: 1)
        origins.insert(key, for: image.configDigest, cost: 1)
    }

    /// What a document with this digest was composed of.
    func origin(_ digest: Digest) -> DerivedImages.ImageKey? { origins.value(digest) }

    /// Remembers that a search found nothing.
    /// - Parameter combinations: a hash of the droplets and recipes that were searched.
    func rememberMiss(_ question: Question, combinations: Int) {
        misses.insert(combinations, for: question, cost: 1)
    }

    /// Whether the same search among the same combinations found nothing.
    func isMiss(_ question: Question, combinations: Int) -> Bool { misses.value(question) == combinations }
}
