/// A stack's name: `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`.
public struct StackName: Hashable, Sendable, CustomStringConvertible {
    public let text: String

    /// - Throws: `ImageError.invalidName`.
    public init(_ text: some StringProtocol) throws(ImageError) {
        guard isStackOrVersion(text) else { throw .invalidName(what: "stack", text: String(text)) }
        self.text = String(text)
    }

    public var description: String { text }
}

/// A rootfs version's name, `[A-Za-z0-9][A-Za-z0-9._-]{0,62}` but not `current`, which stands for the promoted one.
public struct VersionName: Hashable, Sendable, CustomStringConvertible {
    static let reserved = "current"

    public let text: String

    /// - Throws: `ImageError.invalidName`.
    public init(_ text: some StringProtocol) throws(ImageError) {
        guard isStackOrVersion(text), text != Self.reserved else {
            throw .invalidName(what: "rootfs version", text: String(text))
        }
        self.text = String(text)
    }

    public var description: String { text }
}

/// A processor architecture as Go and the OCI image specification name it.
public enum Architecture: String, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    case amd64, arm64

    /// - Throws: `ImageError.invalidName`.
    public init(_ text: some StringProtocol) throws(ImageError) {
        guard let value = Self(rawValue: String(text)) else {
            throw .invalidName(what: "architecture", text: String(text))
        }
        self = value
    }

    public var description: String { rawValue }
}

private func isStackOrVersion(_ text: some StringProtocol) -> Bool {
    let bytes = String(text).utf8
    guard (1...63).contains(bytes.count), let first = bytes.first, isLetterOrDigit(first) else { return false }
    return bytes.allSatisfy { isLetterOrDigit($0) || "._-".utf8.contains($0) }
}

private func isLetterOrDigit(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
        UInt8(ascii: "A")...UInt8(ascii: "Z"):
        true
    default: false
    }
}
