import Staging
import Transfer

/// Fetches what a build needs. It is the only step that has the URLs of app, buildpacks and cache.
@main
enum StageDownload {
    private static let summary = """
        Fetches an app, its buildpacks and its build cache. What to fetch stands in the variables DOWNLOAD_URL,
        BUILDPACKS (JSON: [{"name","key","url","skip_detect","sha256"?}]), BUILDPACK_CACHE_DOWNLOAD_URI,
        BUILDPACK_CACHE_CHECKSUM and BUILDPACK_CACHE_CHECKSUM_ALGORITHM. A process's environment can be read in
        /proc; --task takes the same names from elsewhere.
        """

    private static let options = [
        StepOption("--buildpacks", "DIR", "where the buildpacks go (EIRINI_BUILDPACKS_DIR, /var/lib/buildpacks)"),
        StepOption("--workspace", "DIR", "where app and cache go (EIRINI_WORKSPACE_DIR, /recipe_workspace)"),
        StepOption("--download-limit", "BYTES", "how large one download may be (8 GiB)"),
        StepOption("--unpacked-limit", "BYTES", "what one buildpack may unpack to (16 GiB)"),
        StepOption("--files", "DIR", "read file: URLs of what lies directly in DIR"),
        StepOption("--allow-files", nil, "read file: URLs and paths, for those who have this machine's files anyway"),
    ]

    static func main() {
        StepProgram.run("stage-download", summary: summary, options: options) { arguments, variables, groups in
            let defaults = StagingFiles()
            let files = StagingFiles(
                buildpacks: arguments["--buildpacks"] ?? variables["EIRINI_BUILDPACKS_DIR"] ?? defaults.buildpacks,
                workspace: arguments["--workspace"] ?? variables["EIRINI_WORKSPACE_DIR"] ?? defaults.workspace)
            var limits = DownloadStep.Limits()
            if let bytes = try arguments.number("--download-limit") { limits.download = bytes }
            if let bytes = try arguments.number("--unpacked-limit") { limits.unpacked = bytes }
            let local: DestinationRules.Files =
                arguments.has("--allow-files") ? .all : arguments["--files"].map { .inside($0) } ?? .none
            let client = try arguments.client(variables, files: local)
            let step = try DownloadStep(
                variables, files: files, client: client, authorities: arguments.all("--ca"), limits: limits,
                groups: groups, log: StepProgram.log)
            try await step.run()
        }
    }
}
