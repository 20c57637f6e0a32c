public import JSON
public import Layers
public import OCI
package import ObjectStore
import Records
public import Runtime

/// What a root filesystem is for.
public enum RootfsKind: String, Hashable, Sendable, CaseIterable {
    /// Apps run on it.
    case run
    /// Builds run in it.
    case build
}

/// One variant of a rootfs version: `rootfs/<stack>/<version>/<architecture>`, or below `rootfs-build/` what builds run
/// in. Immutable.
public struct RootfsVersion: Hashable, Sendable {
    public let stack: StackName
    public let version: VersionName
    public let architecture: Architecture
    /// Bottom up.
    public let layers: [LayerReference]
    /// The SHA-256 of the imported file; for an image, the digest of its manifest, or of its configuration if it has
    /// none.
    public let source: Digest
    /// The size of the imported file, in bytes.
    public let sourceSize: Int64
    /// The sum of its layers' tars, in bytes.
    public let uncompressedSize: Int64
    /// The newest entry's modification time.
    public let created: Timestamp
    /// The absolute path of the shell that apps are started with.
    public let shell: String
    /// `PRETTY_NAME` of its os-release, or empty.
    public let system: String
    public let imported: Timestamp
    public let importedBy: String
    public let origin: RootfsOrigin

    static func folder(_ stack: StackName) -> String { "rootfs/\(stack)/" }

    static func folder(_ stack: StackName, _ version: VersionName) -> String { "rootfs/\(stack)/\(version)/" }

    static func key(
        _ stack: StackName, _ version: VersionName, _ architecture: Architecture
    ) throws(ObjectStoreError) -> ObjectKey {
        try ObjectKey(folder(stack, version) + architecture.rawValue)
    }
}

extension RootfsVersion: JSONRecord {
    package static var namesContent: Bool { true }

    package init?(_ json: JSONValue, at key: ObjectKey) {
        let parts = key.text.split(separator: "/")
        guard parts.count == 4, let stack = try? StackName(parts[1]), let version = try? VersionName(parts[2]),
            let architecture = try? Architecture(parts[3]), let created = json["created"]?.integer,
            let imported = json["imported"]?.integer, let importedBy = json["importedBy"]?.string,
            let layers = json["layers"]?.elements(LayerReference.init(json:)), let shell = json["shell"]?.string,
            let source = json["source"]?.string.flatMap({ try? Digest(parsing: $0) }),
            let sourceSize = json["sourceSize"]?.byteCount, let system = json["system"]?.string,
            let uncompressedSize = json["uncompressedSize"]?.byteCount
        else { return nil }
        self.init(
            stack: stack, version: version, architecture: architecture, layers: layers, source: source,
            sourceSize: sourceSize, uncompressedSize: uncompressedSize, created: Timestamp(seconds: created),
            shell: shell, system: system, imported: Timestamp(seconds: imported), importedBy: importedBy,
            origin: RootfsOrigin(json: json))
    }

    package var json: JSONValue {
        let members: JSONObject = [
            "created": .integer(created.seconds), "imported": .integer(imported.seconds),
            "importedBy": .string(importedBy), "layers": .array(layers.map(\.json)), "shell": .string(shell),
            "source": .string(source.description), "sourceSize": .integer(sourceSize), "system": .string(system),
            "uncompressedSize": .integer(uncompressedSize),
        ]
        return .object(members.merging(origin.members) { own, _ in own })
    }
}

/// Where a rootfs version came from, as far as is known; records of earlier versions of Cistern don't state it.
public struct RootfsOrigin: Hashable, Sendable {
    public enum Kind: String, Hashable, Sendable {
        case tar, oci, docker, registry
    }

    public let kind: Kind?
    /// The sender's name for it.
    public let name: String?
    /// The name of the trusted key that signed it.
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

    /// The members that state it in a version's record and in API answers.
    public var members: JSONObject {
        var members: JSONObject = [:]
        if let kind { members["sourceKind"] = .string(kind.rawValue) }
        if let name { members["sourceName"] = .string(name) }
        if let signedBy { members["signedBy"] = .string(signedBy) }
        return members
    }
}
