/// A checksum announced for bytes that are on their way, in lower-case hexadecimal.
public enum Checksum: Hashable, Sendable, CustomStringConvertible {
    case sha256(String)
    case sha1(String)

    public var description: String {
        switch self {
        case .sha256(let hex): "sha256:\(hex)"
        case .sha1(let hex): "sha1:\(hex)"
        }
    }

    package func check(sha256: String, sha1: String) throws(ImageError) {
        switch self {
        case .sha256(let hex) where hex != sha256:
            throw .checksumMismatch(announced: description, received: "sha256:\(sha256)")
        case .sha1(let hex) where hex != sha1:
            throw .checksumMismatch(announced: description, received: "sha1:\(sha1)")
        default: break
        }
    }
}
