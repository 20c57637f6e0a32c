public import JSON

/// A package that is installed in a rootfs, as its package manager's database describes it.
public struct InstalledPackage: Hashable, Sendable {
    public let name: String
    public let version: String
    /// The package manager's name of the architecture: `amd64`, `all`, `x86_64`, `noarch` …
    public let architecture: String
    /// The source package that it was built from.
    public let source: String
    /// The source package's version; empty if the package manager does not say.
    public let sourceVersion: String
    /// The license as the package manager's database has it; empty if it has none.
    public let license: String

    public init(
        name: String, version: String, architecture: String, source: String, sourceVersion: String, license: String = ""
    ) {
        self.name = name
        self.version = version
        self.architecture = architecture
        self.source = source
        self.sourceVersion = sourceVersion
        self.license = license
    }

    init?(json: JSONValue) {
        guard let name = json["name"]?.string, let version = json["version"]?.string,
            let architecture = json["architecture"]?.string, let source = json["source"]?.string
        else { return nil }
        self.init(
            name: name, version: version, architecture: architecture, source: source,
            sourceVersion: json["sourceVersion"]?.string ?? "", license: json["license"]?.string ?? "")
    }

    /// The package's JSON record, in which empty members are left out.
    public var json: JSONValue {
        var members: JSONObject = [
            "architecture": .string(architecture), "name": .string(name), "source": .string(source),
            "version": .string(version),
        ]
        if !sourceVersion.isEmpty { members["sourceVersion"] = .string(sourceVersion) }
        if !license.isEmpty { members["license"] = .string(license) }
        return .object(members)
    }

    /// Roughly how many bytes the package's record takes.
    var cost: Int {
        96 + name.utf8.count + version.utf8.count + architecture.utf8.count + source.utf8.count
            + sourceVersion.utf8.count + 2 * license.utf8.count
    }

    /// Whether one package comes before another in lists: by the bytes of name, architecture and version.
    static func isOrdered(_ left: InstalledPackage, _ right: InstalledPackage) -> Bool {
        for (left, right) in [
            (left.name, right.name), (left.architecture, right.architecture), (left.version, right.version),
        ] where left != right {
            return left.utf8.lexicographicallyPrecedes(right.utf8)
        }
        return false
    }
}
