public import OCI

/// What app bits are of: each kind has a folder of its own, in this order.
public enum BitsKind: String, Hashable, Sendable, CaseIterable {
    case buildpacks
    case caches
    case packages

    /// For people.
    var singular: String {
        switch self {
        case .buildpacks: "buildpack"
        case .caches: "build cache"
        case .packages: "package"
        }
    }
}

/// The name of app bits: a buildpack's or a package's guid, or an app's guid and a stack for its build cache.
///
/// A guid is one component of a repository's name, since quotas count bits as the repository `cistern/<kind>/<guid>`:
/// lower-case letters and digits, with single `.`, `_`, `__` or dashes between them. A stack is
/// `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`.
public struct BitsName: Hashable, Sendable, CustomStringConvertible {
    public let kind: BitsKind
    public let guid: String
    /// Of build caches only.
    public let stack: String?
    /// What the quotas count it as.
    public let repository: RepositoryName

    /// A buildpack's or a package's name.
    /// - Throws: `.invalidName`.
    public init(_ kind: BitsKind, _ guid: String) throws(BitsError) { try self.init(kind, guid, stack: nil) }

    /// A build cache's name.
    /// - Throws: `.invalidName`.
    public init(cacheOf guid: String, stack: String) throws(BitsError) {
        guard Self.isStack(stack) else { throw .invalidName(what: "stack", text: stack) }
        try self.init(.caches, guid, stack: stack)
    }

    private init(_ kind: BitsKind, _ guid: String, stack: String?) throws(BitsError) {
        guard !guid.utf8.contains(UInt8(ascii: "/")),
            let repository = try? RepositoryName(parsing: "cistern/\(kind.rawValue)/\(guid)")
        else { throw .invalidName(what: "guid of a \(kind.singular)", text: guid) }
        self.kind = kind
        self.guid = guid
        self.stack = stack
        self.repository = repository
    }

    /// `<guid>`, or `<guid>/<stack>` for a build cache.
    var path: String { stack.map { "\(guid)/\($0)" } ?? guid }

    public var description: String { "\(kind.singular) \(path)" }

    private static func isStack(_ text: String) -> Bool {
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: false
            }
        }
        return (1...63).contains(text.utf8.count) && text.utf8.first.map(isAlphanumeric) ?? false
            && text.utf8.allSatisfy { isAlphanumeric($0) || "._-".utf8.contains($0) }
    }
}
