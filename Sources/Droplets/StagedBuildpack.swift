public import JSON
public import OCI
import Packages

/// A buildpack that made a droplet, as whoever uploaded it says: the staging task, or an operator. What the droplet
/// itself says is a `StatedBuildpack`.
public struct StagedBuildpack: Hashable, Sendable {
    public enum Source: Hashable, Sendable {
        /// The SHA-256 of the archive that it came in.
        case archive(Digest)
        /// The git commit that was checked out, 40 or 64 hexadecimal digits.
        case commit(String)
    }

    /// `[A-Za-z0-9][A-Za-z0-9+._-]*`, at most 256 bytes. Several may have the same one (`custom`).
    public let name: String
    /// Like the name, but `:` and `~` are allowed too; empty if nobody said it.
    public let version: String
    /// nil if nobody said it.
    public let source: Source?

    /// The most that one droplet may have.
    public static let maximumCount = 32
    /// The most bytes of a list's JSON.
    public static let maximumBytes = 4 << 10

    /// - Parameter source: as `Source.text`; empty: nobody said it.
    /// - Returns: nil unless name, version and source are what they may be.
    public init?(name: String, version: String = "", source: String = "") {
        guard let name = packageName(Array(name.utf8)[...]),
            version.isEmpty || packageVersion(Array(version.utf8)[...]) != nil
        else { return nil }
        self.name = name
        self.version = version
        guard !source.isEmpty else {
            self.source = nil
            return
        }
        guard let known = Source(source) else { return nil }
        self.source = known
    }

    /// `{"name", "version"?, "source"?}`; other members are not looked at.
    public init?(json: JSONValue) {
        guard let name = json["name"]?.string else { return nil }
        for member in ["version", "source"] where json[member] != nil && json[member]?.string == nil { return nil }
        self.init(name: name, version: json["version"]?.string ?? "", source: json["source"]?.string ?? "")
    }

    public var json: JSONValue {
        var members: JSONObject = ["name": .string(name)]
        if !version.isEmpty { members["version"] = .string(version) }
        if let source { members["source"] = .string(source.text) }
        return .object(members)
    }

    /// Parses a JSON list in the order in which they ran.
    /// - Returns: nil for a list that is too long, and if one of its elements is not what it may be.
    public static func list(_ text: String) -> [StagedBuildpack]? {
        guard text.utf8.count <= maximumBytes,
            let list = (try? JSONValue(parsing: Array(text.utf8)))?.elements(StagedBuildpack.init(json:))
        else { return nil }
        return list.count <= maximumCount ? list : nil
    }
}

extension StagedBuildpack.Source {
    /// `sha256:<hex>` or `git:<commit>`.
    public var text: String {
        switch self {
        case .archive(let digest): digest.description
        case .commit(let commit): "git:\(commit)"
        }
    }

    init?(_ text: String) {
        if text.hasPrefix("git:") {
            let commit = text.dropFirst(4)
            guard [40, 64].contains(commit.utf8.count),
                commit.utf8.allSatisfy({ "0123456789abcdef".utf8.contains($0) })
            else { return nil }
            self = .commit(String(commit))
        } else {
            guard let digest = try? Digest(parsing: text), digest.algorithm == .sha256 else { return nil }
            self = .archive(digest)
        }
    }
}
