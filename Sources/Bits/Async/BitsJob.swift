package import JSON
package import OCI
package import ObjectStore
import Records

/// Bits that a client uploaded without waiting for the outcome: `bits/pending/<id>`.
///
/// The record is durable before the client is answered, and is there until the controller was told the outcome. So
/// neither is lost with the process: whoever finds the record goes on with it.
package struct BitsJob: Hashable, Sendable {
    /// What came of it.
    package enum Outcome: Hashable, Sendable {
        case ready(sha1: String, sha256: String)
        /// The reason is for the controller's user.
        case failed(String)
    }

    static let folder = "bits/pending/"
    /// The longest reason that is kept and told, in characters of Unicode: the controller refuses a message with a longer
    /// one, and the upload would never end there.
    private static let maximumReason = 500

    init(
        id: String, kind: String, guid: String, stack: String? = nil, digest: Digest? = nil, sha1: String = "",
        size: Int64 = 0, by: String, buildpack: BuildpackFacts = BuildpackFacts(), resources: Digest? = nil,
        begun: Int64, outcome: Outcome? = nil
    ) {
        self.id = id
        self.kind = kind
        self.guid = guid
        self.stack = stack
        self.digest = digest
        self.sha1 = sha1
        self.size = size
        self.by = by
        self.buildpack = buildpack
        self.resources = resources
        self.begun = begun
        self.outcome = outcome
    }

    /// Begins with the time, so that ids sort by it.
    package let id: String
    /// `packages`, `buildpacks`, `caches` or `droplets`.
    package let kind: String
    package let guid: String
    /// Of build caches only.
    let stack: String?
    /// The bytes as they came: a blob, which this record keeps alive.
    let digest: Digest?
    let sha1: String
    let size: Int64
    let by: String
    let buildpack: BuildpackFacts
    /// The list of files that are to be merged in, a blob of JSON; nil if there is none.
    let resources: Digest?
    /// In nanoseconds since 1970.
    package let begun: Int64
    package var outcome: Outcome?

    /// The blobs that this record keeps alive.
    package var digests: [Digest] { [digest, resources].compactMap(\.self) }

    var key: ObjectKey {
        get throws(BitsError) { try BitsError.key(Self.folder + id) }
    }

    /// - Parameter time: nanoseconds since 1970.
    static func makeID(_ time: Int64) -> String {
        let digits = String(max(time, 0), radix: 36)
        let word = (0..<8).map { _ in "abcdefghijklmnopqrstuvwxyz0123456789".randomElement() ?? "a" }
        return String(repeating: "0", count: max(0, 13 - digits.count)) + digits + "-" + String(word)
    }

    /// What the controller is told (`PATCH`); nil before there is an outcome.
    package var message: JSONValue? {
        switch outcome {
        case nil: nil
        case .ready(let sha1, let sha256):
            [
                "state": "READY",
                "checksums": [
                    ["type": "sha1", "value": .string(sha1)], ["type": "sha256", "value": .string(sha256)],
                ],
            ]
        case .failed(let reason): ["state": "FAILED", "error": .string(Self.cut(reason))]
        }
    }

    private static func cut(_ reason: String) -> String {
        String(String.UnicodeScalarView(reason.unicodeScalars.prefix(maximumReason)))
    }

    /// What the bits are called; nil for droplets.
    var name: BitsName? {
        get throws(BitsError) {
            guard let kind = BitsKind(rawValue: kind) else { return nil }
            if kind == .caches { return try BitsName(cacheOf: guid, stack: stack ?? "") }
            return try BitsName(kind, guid)
        }
    }
}

extension BitsJob: JSONRecord {
    package static var namesContent: Bool { true }

    package init?(_ json: JSONValue, at key: ObjectKey) {
        guard let kind = json["kind"]?.string, let guid = json["guid"]?.string, let by = json["by"]?.string,
            let begun = json["begun"]?.integer, let size = json["size"]?.byteCount, let sha1 = json["sha1"]?.string
        else { return nil }
        id = String(key.text.dropFirst(Self.folder.count))
        self.kind = kind
        self.guid = guid
        self.by = by
        self.begun = begun
        self.size = size
        self.sha1 = sha1
        stack = json["stack"]?.string
        buildpack = json["buildpack"].map(BuildpackFacts.init) ?? BuildpackFacts()
        digest = json["digest"]?.string.flatMap { try? Digest(parsing: $0) }
        resources = json["resources"]?.string.flatMap { try? Digest(parsing: $0) }
        guard (json["digest"] == nil) == (digest == nil), (json["resources"] == nil) == (resources == nil) else {
            return nil
        }
        if let failure = json["failure"]?.string {
            outcome = .failed(failure)
        } else if let sha1 = json["ready"]?["sha1"]?.string, let sha256 = json["ready"]?["sha256"]?.string {
            outcome = .ready(sha1: sha1, sha256: sha256)
        }
    }

    package var json: JSONValue {
        var members: JSONObject = [
            "kind": .string(kind), "guid": .string(guid), "by": .string(by), "begun": .integer(begun),
            "size": .integer(size), "sha1": .string(sha1),
        ]
        if let stack { members["stack"] = .string(stack) }
        if let digest { members["digest"] = .string(digest.description) }
        if let resources { members["resources"] = .string(resources.description) }
        if buildpack != BuildpackFacts() { members["buildpack"] = .object(buildpack.members) }
        switch outcome {
        case nil: break
        case .ready(let sha1, let sha256): members["ready"] = ["sha1": .string(sha1), "sha256": .string(sha256)]
        case .failed(let reason): members["failure"] = .string(Self.cut(reason))
        }
        return .object(members)
    }
}
