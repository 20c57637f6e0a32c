import CLinux
import Glibc
import JSON
import Launcher

/// The program `stage-build`.
package enum StageBuild {
    static let usage = """
        usage: stage-build [--app PATH] [--buildpacks DIR] [--workspace DIR] [--output DIR] [--work DIR]
                           [--environment FILE] [--message FILE]

        Builds a droplet from an app and buildpacks.

          --app PATH          the app: a directory or an archive (WORKSPACE/app.zip)
          --buildpacks DIR    buildpacks and their list config.json (/var/lib/buildpacks)
          --workspace DIR     what was downloaded: app.zip, cache.tgz, environment.json (/recipe_workspace)
          --output DIR        gets droplet.tgz, result.json and cache.tgz (/out)
          --work DIR          where the build works: DIR/app, DIR/cache, DIR/contents, DIR/home, DIR/tmp (/tmp/staging)
          --environment FILE  variables for the buildpacks, [{"name","value"}] (WORKSPACE/environment.json)
          --message FILE      gets why the build failed, {"failure"} in JSON of 4 KiB at the most (nowhere)

        The variables EIRINI_BUILDPACKS_DIR, EIRINI_WORKSPACE_DIR, EIRINI_OUTPUT_DROPLET_LOCATION,
        EIRINI_OUTPUT_METADATA_LOCATION and EIRINI_OUTPUT_BUILD_ARTIFACTS_CACHE stand for directories and files that no
        argument names. Exit codes: 222 no buildpack is for the app, 223 compile or finalize failed, 224 release failed,
        225 supply failed, 143 ended by a signal, 2 wrong usage, 1 anything else.

        """

    /// What the command line and the environment say.
    struct Invocation: Hashable {
        var places = BuildPlaces()
        var environmentFile: String
        /// Whether an argument named the file, so that it has to be there.
        var needsEnvironmentFile: Bool
        /// Where to say why the build failed; nil: only in the result.
        var messageFile: String?
        var isHelp = false

        /// - Throws: a sentence for the person who typed it.
        init(arguments: [String], environment: Environment) throws(UsageError) {
            var values: [String: String] = [:]
            var rest = arguments.dropFirst()
            environmentFile = ""
            needsEnvironmentFile = false
            while let option = rest.popFirst() {
                if option == "--help" || option == "-h" {
                    isHelp = true
                    return
                }
                guard
                    ["app", "buildpacks", "workspace", "output", "work", "environment", "message"].map({ "--" + $0 })
                        .contains(
                            option)
                else { throw UsageError(message: "unknown argument '\(option)'") }
                guard let value = rest.popFirst(), !value.isEmpty else {
                    throw UsageError(message: "\(option) needs a value")
                }
                values[option] = value
            }
            func value(_ option: String, _ variable: String) -> String? {
                if let value = values[option] { return value }
                guard let value = environment[variable], !value.isEmpty else { return nil }
                return value
            }
            var files = StagingFiles()
            files = StagingFiles(
                buildpacks: value("--buildpacks", "EIRINI_BUILDPACKS_DIR") ?? files.buildpacks,
                workspace: value("--workspace", "EIRINI_WORKSPACE_DIR") ?? files.workspace,
                output: values["--output"] ?? files.output)
            places = BuildPlaces(files, work: values["--work"] ?? places.work)
            if let app = values["--app"] { places.app = app }
            if values["--output"] == nil {
                func output(_ variable: String, _ path: inout String) {
                    if let value = environment[variable], !value.isEmpty { path = value }
                }
                output("EIRINI_OUTPUT_DROPLET_LOCATION", &places.droplet)
                output("EIRINI_OUTPUT_METADATA_LOCATION", &places.result)
                output("EIRINI_OUTPUT_BUILD_ARTIFACTS_CACHE", &places.newCache)
            }
            environmentFile = values["--environment"] ?? files.environment
            needsEnvironmentFile = values["--environment"] != nil
            messageFile = values["--message"]
            for path in [places.app, places.buildpacks, places.work, places.droplet, places.result, places.newCache]
            where !path.hasPrefix("/") {
                throw UsageError(message: "\(path): paths have to be absolute")
            }
        }
    }

    struct UsageError: Error, Hashable {
        let message: String
    }

    /// Runs the program. - Returns: the exit code.
    package static func run() -> Int32 {
        let environment = Environment(System.environment)
        do throws(UsageError) {
            let invocation = try Invocation(arguments: System.arguments.map(\.display), environment: environment)
            if invocation.isHelp {
                System.write(usage, to: STDOUT_FILENO)
                return 0
            }
            return build(invocation, environment)
        } catch {
            System.write("stage-build: \(error.message)\n\(usage)", to: STDERR_FILENO)
            return 2
        }
    }

    private static func build(_ invocation: Invocation, _ own: Environment) -> Int32 {
        umask(0o022)
        // Nothing that this process was given but its standard streams is for the buildpacks.
        _ = clinux_close_on_exec(3)
        _ = clinux_adopt_orphans()
        // Buildpacks run as the same user: what else is in this process's environment is not theirs to read.
        _ = clinux_hide_memory()
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
            let old = limit
            limit.rlim_cur = min(limit.rlim_max, 4096)
            if old.rlim_cur < limit.rlim_cur { setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) }
        }
        var signals = sigset_t()
        sigemptyset(&signals)
        for number in [SIGTERM, SIGINT, SIGHUP] { sigaddset(&signals, number) }
        sigprocmask(SIG_BLOCK, &signals, nil)
        signal(SIGPIPE, SIG_IGN)
        signal(SIGCHLD, SIG_DFL)

        let log = BuildLog(descriptor: STDOUT_FILENO)
        do throws(BuildError) {
            let places = invocation.places
            let variables =
                invocation.needsEnvironmentFile || FileTree.exists(invocation.environmentFile)
                ? try BuildEnvironment.Variable.read(invocation.environmentFile) : []
            let environment = BuildEnvironment.make(
                own: own, requested: variables, home: places.home, temporary: places.temporary,
                epoch: TarFile.constantTime)
            for warning in AppEnvironment.platformWarnings(environment) { log.warn(warning) }
            var build = Build(
                places: places, environment: environment, log: log, errors: STDERR_FILENO,
                cancellation: Cancellation(descriptor: clinux_signal_descriptor(&signals)), ownsAllChildren: true)
            try build.run()
            return 0
        } catch {
            System.write("stage-build: \(error)\n", to: STDERR_FILENO)
            if let file = invocation.messageFile { say(error, in: file) }
            return error.kind.exitCode
        }
    }

    /// A container's message of its end has at most this many bytes (Kubernetes, "Customizing the termination message").
    static let maximumMessage = 4096

    /// Writes why the build failed into a file that may be there: a container's message can't be replaced, only filled.
    /// Where that fails, the log has the same.
    private static func say(_ error: BuildError, in path: String) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var message = JSONValue.object(["failure": StagingResult.failure(error)])
        if message.canonicalBytes.count > maximumMessage {
            message = ["failure": ["phase": .string(error.phase?.rawValue ?? "build"), "message": "see the log"]]
        }
        System.write(message.canonicalText, to: descriptor)
    }
}
