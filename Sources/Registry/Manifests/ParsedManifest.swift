import Blobs
import Glibc
public import OCI
import Runtime

/// A manifest that is about to be pushed: its bytes, with what the registry reads from them.
public struct ParsedManifest: Sendable {
    let bytes: [UInt8]
    let content: ManifestContent
    public let digest: Digest

    /// The manifest that this one refers to.
    public var subject: Digest? { content.subject }

    /// What is larger, in bytes, takes long enough to parse to keep others waiting.
    private static let small = 64 << 10
    /// Parse large manifests. They are fewer than the processors, so that others are served meanwhile, and they bound
    /// the memory that parsed manifests take.
    private static let parsers = BlockingPool(
        name: "manifest-parse", threads: max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)) / 4))

    /// Parses a manifest; a large one on a thread for such work, after those that came before it.
    /// - Parameters:
    ///   - bytes: at most 4 MiB.
    ///   - reference: a tag, or the digest that the bytes must have.
    ///   - contentType: the sender's Content-Type.
    /// - Throws: `.tooLarge`, `.mismatch`, `.invalidManifest`.
    public init(_ bytes: [UInt8], as reference: Reference, contentType: String?) async throws(RegistryError) {
        guard bytes.count <= ManifestContent.maximumSize else {
            throw .tooLarge(maximum: Int64(ManifestContent.maximumSize))
        }
        if bytes.count <= Self.small {
            try self.init(parsing: bytes, as: reference, contentType: contentType)
        } else {
            self = try await Self.parsers.run { () throws(RegistryError) in
                try ParsedManifest(parsing: bytes, as: reference, contentType: contentType)
            }
        }
    }

    private init(parsing bytes: [UInt8], as reference: Reference, contentType: String?) throws(RegistryError) {
        switch reference {
        case .tag: digest = Digest.of(bytes)
        case .digest(let wanted):
            digest = Digest.of(bytes, wanted.algorithm)
            guard digest == wanted else { throw .mismatch(announced: .digest(wanted), received: .digest(digest)) }
        }
        self.bytes = bytes
        content = try ManifestContent(bytes, contentType: contentType, isPush: true)
    }
}
