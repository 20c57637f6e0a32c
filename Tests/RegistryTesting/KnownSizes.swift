package import OCI
import Synchronization

/// How large the content is that a test pushed, for the descriptors of manifests that name it.
package final class KnownSizes: Sendable {
    private let sizes = Mutex<[Digest: Int64]>([Digest.of(Array("{}".utf8)): 2])

    package init() {}

    package func add(_ bytes: [UInt8]) { sizes.withLock { $0[Digest.of(bytes)] = Int64(bytes.count) } }

    /// The size of content that was added; 1 for other content.
    package subscript(digest: Digest) -> Int64 { sizes.withLock { $0[digest] ?? 1 } }
}
