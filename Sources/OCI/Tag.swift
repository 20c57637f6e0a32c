/// A tag (OCI distribution specification: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`).
public struct Tag: Hashable, Sendable, CustomStringConvertible {
    public static let maximumLength = 128

    public let text: String

    /// - Throws: `OCIError.tag`.
    public init(parsing text: some StringProtocol) throws(OCIError) {
        let bytes = text.utf8
        guard (1...Self.maximumLength).contains(bytes.count),
            let first = bytes.first, first.isLetterOrDigit || first == UInt8(ascii: "_"),
            bytes.allSatisfy({ $0.isLetterOrDigit || "._-".utf8.contains($0) })
        else { throw .tag(String(text)) }
        self.text = String(text)
    }

    public var description: String { text }
}
