public import OCI

/// A droplet image's tag: `<droplet-hash>` (on the stack's current rootfs) or `<droplet-hash>-<rootfs-version>`.
public struct DropletTag: Hashable, Sendable {
    public let hash: DropletHash
    /// nil: whatever is current.
    public let version: VersionName?

    public init(hash: DropletHash, version: VersionName?) {
        self.hash = hash
        self.version = version
    }

    /// - Returns: nil for a tag that can't be a droplet's.
    public init?(_ tag: Tag) {
        let parts = tag.text.utf8.split(separator: UInt8(ascii: "-"), maxSplits: 1, omittingEmptySubsequences: false)
            .map { Substring($0) }
        guard let hash = DropletHash(parts[0]) else { return nil }
        self.hash = hash
        if parts.count == 2 {
            guard let version = try? VersionName(parts[1]) else { return nil }
            self.version = version
        } else {
            self.version = nil
        }
    }
}

/// How a droplet's content is named: the hexadecimal of its SHA-256, or of its SHA-1 as older controllers do.
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
