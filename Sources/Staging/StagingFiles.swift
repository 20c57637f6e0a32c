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
    /// The variables that the buildpacks see, `[{"name","value"}]` in JSON; absent if the task has none.
    public var environment: String { workspace + "/environment.json" }
    /// The droplet, a gzipped tar.
    public var droplet: String { output + "/droplet.tgz" }
    /// What the controller wants to know of the build, in JSON; written when the build fails, too.
    public var result: String { output + "/result.json" }
    /// The build cache for the build after, a gzipped tar; absent if there is none.
    public var newCache: String { output + "/cache.tgz" }
}

/// Where a build finds and leaves its files. All paths are absolute.
package struct BuildPlaces: Hashable, Sendable {
    /// The app: a directory, a zip, or a tar archive that may be compressed. It is read, never changed.
    package var app: String
    /// The buildpacks' directories beside their list.
    package var buildpacks: String
    /// The build cache of the build before; what is missing or not readable is an empty one.
    package var oldCache: String
    /// Where the build makes its directories: `app`, `cache`, `contents`, `home` and `tmp`. The same path for each
    /// build gives the same droplets, since buildpacks write it down in files. Nothing may have these names before; all
    /// of it is removed afterwards.
    package var work: String
    package var droplet: String
    package var result: String
    package var newCache: String

    package init(_ files: StagingFiles = StagingFiles(), work: String = "/tmp/staging") {
        app = files.app
        buildpacks = files.buildpacks
        oldCache = files.oldCache
        droplet = files.droplet
        result = files.result
        newCache = files.newCache
        self.work = work
    }

    var list: String { StagingFiles(buildpacks: buildpacks).buildpackList }
    var buildDirectory: String { work + "/app" }
    var cache: String { work + "/cache" }
    var contents: String { work + "/contents" }
    var deps: String { contents + "/deps" }
    var profile: String { contents + "/profile.d" }
    package var home: String { work + "/home" }
    package var temporary: String { work + "/tmp" }

    /// What a droplet has besides the app.
    var contentsDirectories: [String] { [deps, profile, contents + "/tmp", contents + "/logs"] }

    var worked: [String] { [buildDirectory, cache, contents, home, temporary] }
}
