/// A tag (OCI distribution specification: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`).
public struct Tag: Hashable, Sendable, CustomStringConvertible {
    public static let maximumLength = 128

    public let text: String

    /// - Throws: `OCIError.tag`.
    public init(parsing text: some StringProtocol) throws(OCIError) {
        // A type of its own, which the compiler specialises for: this is done for each request.
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
