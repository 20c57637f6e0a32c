package import JSON
public import OCI
package import ObjectStore
import Records
public import Runtime

/// What is known of a buildpack besides its bytes.
public struct BuildpackFacts: Hashable, Sendable {
    /// The stack that its `manifest.yml` names; nil if it names none.
    public var stack: String?
    /// What its uploader calls it; nil if that was not said. The same holds for the following.
    public var name: String?
    /// Its place in the order in which buildpacks are asked whether they fit, from 1 on.
    public var position: Int?
    public var isEnabled: Bool?

    public init(stack: String? = nil, name: String? = nil, position: Int? = nil, isEnabled: Bool? = nil) {
        self.stack = stack
        self.name = name
        self.position = position
        self.isEnabled = isEnabled
    }
}

/// App bits that are stored: `bits/packages/<guid>`, `bits/buildpacks/<guid>`, `bits/caches/<guid>/<stack>`.
public struct BitsRecord: Hashable, Sendable {
    public let name: BitsName
    /// SHA-256 of the bytes.
    public let digest: Digest
    /// 40 hexadecimal digits.
    public let sha1: String
    /// In bytes.
    public let size: Int64
    public let uploaded: Timestamp
    /// When it was last fetched or uploaded, within a day.
    public internal(set) var used: Timestamp
    /// Who uploaded or copied it.
    public let uploadedBy: String
    /// Of buildpacks only.
    public let buildpack: BuildpackFacts?

    init(
        name: BitsName, digest: Digest, sha1: String, size: Int64, uploaded: Timestamp, uploadedBy: String,
        buildpack: BuildpackFacts?, used: Timestamp? = nil
    ) {
        self.name = name
        self.digest = digest
        self.sha1 = sha1
        self.size = size
        self.uploaded = uploaded
        self.used = max(used ?? uploaded, uploaded)
        self.uploadedBy = uploadedBy
        self.buildpack = buildpack
    }

    static func folder(_ kind: BitsKind) -> String { "bits/\(kind.rawValue)/" }

    static func key(_ name: BitsName) throws(BitsError) -> ObjectKey {
        try BitsError.key(folder(name.kind) + name.path)
    }

    /// The same bits under another name.
    func copied(to name: BitsName, at time: Timestamp, by user: String) -> BitsRecord {
        BitsRecord(
            name: name, digest: digest, sha1: sha1, size: size, uploaded: time, uploadedBy: user, buildpack: buildpack)
    }
}

extension BitsName {
    /// - Returns: nil if a key names no bits.
    init?(_ key: ObjectKey) {
        let parts = key.text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count >= 3, parts[0] == "bits", let kind = BitsKind(rawValue: parts[1]) else { return nil }
        let name: BitsName?
        switch (kind, parts.count) {
        case (.caches, 4): name = try? BitsName(cacheOf: parts[2], stack: parts[3])
        case (.buildpacks, 3), (.packages, 3): name = try? BitsName(kind, parts[2])
        default: name = nil
        }
        guard let name else { return nil }
        self = name
    }
}

extension BitsRecord: JSONRecord {
    package static var namesContent: Bool { true }

    package init?(_ json: JSONValue, at key: ObjectKey) {
        guard let name = BitsName(key), let digest = json["digest"]?.string.flatMap({ try? Digest(parsing: $0) }),
            let sha1 = json["sha1"]?.string, let size = json["size"]?.byteCount,
            let uploaded = json["uploaded"]?.integer, let uploadedBy = json["uploadedBy"]?.string
        else { return nil }
        self.init(
            name: name, digest: digest, sha1: sha1, size: size, uploaded: Timestamp(seconds: uploaded),
            uploadedBy: uploadedBy, buildpack: name.kind == .buildpacks ? BuildpackFacts(json) : nil,
            used: json["used"]?.integer.map { Timestamp(seconds: $0) })
    }

    package var json: JSONValue {
        var members: JSONObject = [
            "digest": .string(digest.description), "sha1": .string(sha1), "size": .integer(size),
            "uploaded": .integer(uploaded.seconds), "uploadedBy": .string(uploadedBy),
        ]
        if used > uploaded { members["used"] = .integer(used.seconds) }
        if let buildpack { members.merge(buildpack.members) { own, _ in own } }
        return .object(members)
    }
}

extension BuildpackFacts {
    init(_ json: JSONValue) {
        self.init(
            stack: json["stack"]?.string, name: json["name"]?.string,
            position: json["position"]?.integer.flatMap(Int.init(exactly:)), isEnabled: json["enabled"]?.bool)
    }

    /// The members of a document that say what is known.
    package var members: JSONObject {
        var members: JSONObject = [:]
        if let stack { members["stack"] = .string(stack) }
        if let name { members["name"] = .string(name) }
        if let position { members["position"] = .integer(Int64(position)) }
        if let isEnabled { members["enabled"] = .bool(isEnabled) }
        return members
    }
}
