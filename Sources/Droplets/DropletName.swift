public import Blobs
public import OCI
public import Rootfs

/// The guid that names a droplet's repository, `cloudfoundry/<guid>`: one component of a repository's name.
public struct DropletGUID: Hashable, Sendable, CustomStringConvertible {
    public static let namespace = "cloudfoundry/"

    public let text: String
    public let repository: RepositoryName

    /// - Throws: `ImageError.invalidName`.
    public init(_ text: some StringProtocol) throws(ImageError) {
        guard !text.utf8.contains(UInt8(ascii: "/")), let name = try? RepositoryName(parsing: Self.namespace + text)
        else { throw .invalidName(what: "droplet guid", text: String(text)) }
        self.text = String(text)
        self.repository = name
    }

    public var description: String { text }

    public static func == (left: DropletGUID, right: DropletGUID) -> Bool { left.text == right.text }
    public func hash(into hasher: inout Hasher) { hasher.combine(text) }
}

/// The hash that names a droplet: its SHA-256 in hexadecimal, or its SHA-1, which older controllers use.
public enum DropletHash: Hashable, Sendable, CustomStringConvertible {
    case sha256(String)
    case sha1(String)

    public init?(_ text: some StringProtocol) {
        let text = String(text)
        guard text.utf8.allSatisfy(Self.isDigit) else { return nil }
        switch text.utf8.count {
        case 64: self = .sha256(text)
        case 40: self = .sha1(text)
        default: return nil
        }
    }

    public var description: String {
        switch self {
        case .sha256(let hex), .sha1(let hex): hex
        }
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
    }
}

extension Checksum {
    /// - Returns: nil if the hash is not a valid digest.
    public init?(_ hash: DropletHash) {
        switch hash {
        case .sha256(let hex):
            guard let digest = try? Digest(.sha256, hex: hex) else { return nil }
            self = .digest(digest)
        case .sha1(let hex): self = .sha1(hex)
        }
    }
}
