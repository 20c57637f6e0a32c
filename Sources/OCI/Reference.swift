/// What a manifest is asked by: a tag or a digest (OCI distribution specification: `<reference>`).
public enum Reference: Hashable, Sendable, CustomStringConvertible {
    case tag(Tag)
    case digest(Digest)

    /// A text with a `:` is meant as a digest, since no tag has one.
    /// - Throws: `OCIError.digest` or `OCIError.tag`.
    public init(parsing text: some StringProtocol) throws(OCIError) {
        if text.utf8.contains(UInt8(ascii: ":")) {
            self = .digest(try Digest(parsing: text))
        } else {
            self = .tag(try Tag(parsing: text))
        }
    }

    public var description: String {
        switch self {
        case .tag(let tag): tag.text
        case .digest(let digest): digest.description
        }
    }
}
