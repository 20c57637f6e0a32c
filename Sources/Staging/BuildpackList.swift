public import JSON

/// The buildpacks of a task in the order in which they were asked for, as download leaves them for the other steps.
public struct BuildpackList: Hashable, Sendable {
    /// A buildpack that was downloaded.
    public struct Buildpack: Hashable, Sendable {
        /// What the controller calls it: a guid, or the URL that a user gave. Never holds a password.
        public let key: String
        /// The name for people. Several may have the same one (`custom`).
        public let name: String
        /// Whether the build may run it without asking it.
        public let skipsDetect: Bool
        /// The name of its directory beside the list.
        public let directory: String
        /// What was downloaded: `sha256:<hex>` of an archive, `git:<commit>` of a repository, empty for a directory.
        public let source: String

        public init(key: String, name: String, skipsDetect: Bool, directory: String, source: String) {
            self.key = key
            self.name = name
            self.skipsDetect = skipsDetect
            self.directory = directory
            self.source = source
        }
    }

    public let buildpacks: [Buildpack]

    public init(_ buildpacks: [Buildpack]) { self.buildpacks = buildpacks }

    /// `[{"key","name","skip_detect","directory","source"}]`.
    public init?(json: JSONValue) {
        guard
            let buildpacks = json.elements({ (item: JSONValue) -> Buildpack? in
                guard let key = item["key"]?.string, let name = item["name"]?.string,
                    let directory = item["directory"]?.string, !directory.isEmpty,
                    directory.utf8.allSatisfy({ $0 != UInt8(ascii: "/") && $0 != 0 }), !directory.hasPrefix(".")
                else { return nil }
                return Buildpack(
                    key: key, name: name, skipsDetect: item["skip_detect"]?.bool ?? false, directory: directory,
                    source: item["source"]?.string ?? "")
            })
        else { return nil }
        self.buildpacks = buildpacks
    }

    public var json: JSONValue {
        .array(
            buildpacks.map {
                [
                    "key": .string($0.key), "name": .string($0.name), "skip_detect": .bool($0.skipsDetect),
                    "directory": .string($0.directory), "source": .string($0.source),
                ]
            })
    }
}
