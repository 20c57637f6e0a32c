public import JSON

/// What is known of where a rootfs version came from. Records of before have none of it.
public struct RootfsOrigin: Hashable, Sendable {
    public enum Kind: String, Hashable, Sendable {
        case tar, oci, docker, registry
    }

    public let kind: Kind?
    /// What the sender called it.
    public let name: String?
    /// The trusted key whose signature it came with.
    public let signedBy: String?

    init(kind: Kind? = nil, name: String? = nil, signedBy: String? = nil) {
        self.kind = kind
        self.name = name
        self.signedBy = signedBy
    }

    init(json: JSONValue) {
        self.init(
            kind: json["sourceKind"]?.string.flatMap(Kind.init(rawValue:)), name: json["sourceName"]?.string,
            signedBy: json["signedBy"]?.string)
    }

    /// As members of a version's record, and of what is told about it.
    public var members: [String: JSONValue] {
        var members: [String: JSONValue] = [:]
        if let kind { members["sourceKind"] = .string(kind.rawValue) }
        if let name { members["sourceName"] = .string(name) }
        if let signedBy { members["signedBy"] = .string(signedBy) }
        return members
    }
}
