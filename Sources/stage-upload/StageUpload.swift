import Staging
import Transfer

/// Sends what a build made. It reads the build's output, which it can't write, and trusts nothing in it.
@main
enum StageUpload {
    private static let summary = """
        Sends a droplet and a build cache, and reports the result. Where to stands in the variables
        DROPLET_UPLOAD_URL and BUILDPACK_CACHE_UPLOAD_URI. The result goes by PUT to STAGING_COMPLETED_URL or to
        EIRINI_ADDRESS/stage/STAGING_GUID/completed, else by POST to COMPLETION_CALLBACK, else nowhere. A process's
        environment can be read in /proc; --task takes the same names from elsewhere.
        """

    private static let options = [
        StepOption("--buildpacks", "DIR", "where the buildpacks are (EIRINI_BUILDPACKS_DIR, /var/lib/buildpacks)"),
        StepOption("--output", "DIR", "where the build put what it made (/out)"),
        StepOption("--form", "FORM", "put (Cistern, the default), post (cc-uploader) or multipart (the controller)"),
        StepOption("--report", "FILE", "write the result into a new file instead of sending it"),
        StepOption("--upload-limit", "BYTES", "how large the droplet, and the cache, may be (8 GiB)"),
    ]

    static func main() {
        StepProgram.run("stage-upload", summary: summary, options: options) { arguments, variables, _ in
            let defaults = StagingFiles()
            let files = StagingFiles(
                buildpacks: arguments["--buildpacks"] ?? variables["EIRINI_BUILDPACKS_DIR"] ?? defaults.buildpacks,
                output: arguments["--output"] ?? defaults.output)
            var limits = UploadStep.Limits()
            if let bytes = try arguments.number("--upload-limit") { (limits.droplet, limits.cache) = (bytes, bytes) }
            guard let form = UploadForm(rawValue: arguments["--form"] ?? UploadForm.put.rawValue) else {
                throw TransferFailure(.invalid, "--form takes put, post or multipart")
            }
            let step = try UploadStep(
                variables, files: files, client: arguments.client(variables), form: form, limits: limits,
                reportFile: arguments["--report"], log: StepProgram.log)
            try await step.run()
        }
    }
}
