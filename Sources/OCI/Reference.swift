/// The name by which a manifest is asked for: a tag or a digest (OCI distribution specification: `<reference>`).
public enum Reference: Hashable, Sendable, CustomStringConvertible {
    case tag(Tag)
    case digest(Digest)

    /// Parses a text with a `:` as a digest, since no tag has one, and any other as a tag.
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

/// A repository's name (OCI distribution specification, "Pulling manifests": `<name>`).
///
/// Components of lower-case letters and digits, separated inside by `.`, `_`, `__` or any number of `-`, joined by `/`;
/// at most 255 bytes.
public struct RepositoryName: Hashable, Sendable, CustomStringConvertible {
    public static let maximumLength = 255

    public let text: String

    /// - Throws: `OCIError.name`.
    public init(parsing text: some StringProtocol) throws(OCIError) {
        // For a concrete type the compiler specializes the code below, which runs for each request.
        let text = String(text)
        let bytes = text.utf8
        guard (1...Self.maximumLength).contains(bytes.count),
            bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
                .allSatisfy({ Self.isComponent($0) })
        else { throw .name(text) }
        self.text = text
    }

    public var description: String { text }

    /// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
    private static func isComponent(_ bytes: some Collection<UInt8>) -> Bool {
        var index = bytes.startIndex
        func word() -> Bool {
            let start = index
            while index < bytes.endIndex, bytes[index].isLowerOrDigit { bytes.formIndex(after: &index) }
            return index > start
        }
        func separator() -> Bool {
            let first = bytes[index]
            bytes.formIndex(after: &index)
            switch first {
            case UInt8(ascii: "."): return true
            case UInt8(ascii: "_"):
                if index < bytes.endIndex, bytes[index] == first { bytes.formIndex(after: &index) }
                return true
            case UInt8(ascii: "-"):
                while index < bytes.endIndex, bytes[index] == first { bytes.formIndex(after: &index) }
                return true
            default: return false
            }
        }
        guard word() else { return false }
        while index < bytes.endIndex {
            guard separator(), word() else { return false }
        }
        return true
    }
}

/// A tag (OCI distribution specification: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`).
public struct Tag: Hashable, Sendable, CustomStringConvertible {
    public static let maximumLength = 128

    public let text: String

    /// - Throws: `OCIError.tag`.
    public init(parsing text: some StringProtocol) throws(OCIError) {
        // For a concrete type the compiler specializes the code below, which runs for each request.
        let text = String(text)
        let bytes = text.utf8
        guard (1...Self.maximumLength).contains(bytes.count),
            let first = bytes.first, first.isLetterOrDigit || first == UInt8(ascii: "_"),
            bytes.allSatisfy({ $0.isLetterOrDigit || Self.isPunctuation($0) })
        else { throw .tag(text) }
        self.text = text
    }

    public var description: String { text }

    private static func isPunctuation(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: ".") || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-")
    }
}
