/// What is wrong with a text or document of the OCI specifications. The payload is what was given, or what is wrong
/// with it; callers that answer over a network bound and escape it.
public enum OCIError: Error, Hashable, Sendable {
    /// Not a digest of a registered algorithm.
    case digest(String)
    /// Not a repository name of the distribution specification.
    case name(String)
    /// Not a tag of the distribution specification.
    case tag(String)
    /// Not a media type of RFC 6838.
    case mediaType(String)
    /// A document that is no valid manifest, index, descriptor or config, and why.
    case document(String)
}

extension OCIError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .digest(let text): "'\(text)' is not a digest (sha256:<64 hex> or sha512:<128 hex>)"
        case .name(let text): "'\(text)' is not a repository name"
        case .tag(let text): "'\(text)' is not a tag"
        case .mediaType(let text): "'\(text)' is not a media type"
        case .document(let reason): reason
        }
    }
}
