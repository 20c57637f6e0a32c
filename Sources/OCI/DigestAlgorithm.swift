/// A digest algorithm registered by the OCI image specification (descriptor.md, "Registered Algorithms").
public enum DigestAlgorithm: String, Hashable, Sendable, CaseIterable {
    case sha256
    case sha512

    /// The digest's length in lower-case hexadecimal digits.
    public var hexLength: Int {
        switch self {
        case .sha256: 64
        case .sha512: 128
        }
    }
}
