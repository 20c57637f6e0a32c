public import JSON

/// What an image runs on (OCI image specification, image-index.md, `platform`).
public struct Platform: Hashable, Sendable {
    public var architecture: String
    public var os: String
    public var variant: String?
    public var other: [String: JSONValue]

    public init(architecture: String, os: String = "linux", variant: String? = nil) {
        self.architecture = architecture
        self.os = os
        self.variant = variant
        self.other = [:]
    }

    public init(json: JSONValue) throws(OCIError) {
        var members = try Members(json, of: "a platform")
        architecture = try members.requiredString("architecture")
        os = try members.requiredString("os")
        variant = try members.string("variant")
        other = members.rest
    }

    public var json: JSONValue {
        var members = other
        members["architecture"] = .string(architecture)
        members["os"] = .string(os)
        if let variant { members["variant"] = .string(variant) }
        return .object(members)
    }
}
