/// Where the steps of a staging task find each other's files. They meet nowhere else: no environment, no network, no
/// temporary directory is shared.
///
/// - download writes `buildpacks` and `workspace`;
/// - build reads both and writes `output`;
/// - upload reads `buildpacks` and `output`, which it can't write.
public struct StagingFiles: Hashable, Sendable {
    /// The buildpacks, each in a directory of its own, and the list of them.
    public let buildpacks: String
    /// The app and the build cache, as they came.
    public let workspace: String
    /// What the build made.
    public let output: String

    /// - Parameters: absolute paths of directories. The predecessors' are the defaults.
    public init(
        buildpacks: String = "/var/lib/buildpacks", workspace: String = "/recipe_workspace", output: String = "/out"
    ) {
        self.buildpacks = buildpacks
        self.workspace = workspace
        self.output = output
    }

    /// A `BuildpackList` in JSON.
    public var buildpackList: String { buildpacks + "/config.json" }
    /// The app as a zip.
    public var app: String { workspace + "/app.zip" }
    /// The build cache of the build before, a gzipped tar; absent if there is none.
    public var oldCache: String { workspace + "/cache.tgz" }
    /// The droplet, a gzipped tar.
    public var droplet: String { output + "/droplet.tgz" }
    /// What the controller wants to know of the build, in JSON; written when the build fails, too.
    public var result: String { output + "/result.json" }
    /// The build cache for the build after, a gzipped tar; absent if there is none.
    public var newCache: String { output + "/cache.tgz" }
}
