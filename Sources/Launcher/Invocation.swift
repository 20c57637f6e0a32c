/// What `launch` is asked to start.
package enum LaunchRequest: Hashable, Sendable {
    /// No argument: START_COMMAND, else the process type `web`.
    case standard
    /// One word: a process type of the droplet, or else a shell command.
    case word(SystemText)
    /// A shell command; an empty one is like `standard` without START_COMMAND.
    case line(SystemText)
    /// A program and its arguments.
    case program([SystemText])
}

/// What the arguments ask for. The name under which the program is called selects which of four programs it acts as.
package enum Invocation: Hashable, Sendable {
    /// `launch`: nothing, or one word, or a program with arguments, or `--` and a program.
    case launch(LaunchRequest)
    /// `launcher APP_DIR START_COMMAND [METADATA]`, the predecessors' inner program.
    case launcher(app: SystemText, LaunchRequest)
    /// `shell [APP_DIR [COMMAND]]`, by which people look into an app's container. Without a command it is interactive.
    case shell(app: SystemText?, command: SystemText?)
    case dumbInit(DumbInitOptions)
    /// Only this text is to be printed.
    case text(String)

    /// - Parameters:
    ///   - arguments: the words of the command line, the program's name first.
    ///   - environment: where dumb-init finds two variables of its own.
    /// - Throws: `.usage` for arguments that the program does not take.
    package init(arguments: [SystemText], environment: Environment) throws(LauncherError) {
        switch Self.name(arguments) {
        case "dumb-init": self = try DumbInitOptions.parse(arguments, environment: environment)
        case "launcher": self = try Self.launcher(arguments)
        case "shell": self = try Self.shell(arguments)
        default: self = try Self.launch(Array(arguments.dropFirst()))
        }
    }

    /// Which of its four names the program was called by; messages begin with it.
    package static func name(_ arguments: [SystemText]) -> String {
        switch arguments.first?.lastComponent {
        case "dumb-init": "dumb-init"
        case "launcher": "launcher"
        case "shell": "shell"
        default: "launch"
        }
    }

    private static func launch(_ words: [SystemText]) throws(LauncherError) -> Invocation {
        guard let first = words.first, !first.isEmpty || words.count > 1 else { return .launch(.standard) }
        switch first {
        case "-h", "--help": return .text(help)
        case "--":
            guard words.count > 1 else { return .launch(.standard) }
            return .launch(.program(Array(words.dropFirst())))
        case _ where first.hasPrefix("-"):
            throw .usage(
                "unknown option '\(first.display)'. A program whose name begins with '-' goes after '--'", exitCode: 2)
        default: return .launch(words.count == 1 ? .word(first) : .program(words))
        }
    }

    /// Ignores the metadata and what may follow it (flags for CredHub), since the predecessors never used them to start
    /// an app.
    private static func launcher(_ arguments: [SystemText]) throws(LauncherError) -> Invocation {
        guard arguments.count >= 3, !arguments[1].isEmpty else {
            throw .usage(
                "received only \(max(0, arguments.count - 1)) arguments\n"
                    + "Usage: launcher <app-directory> <start-command> [<metadata>]", exitCode: 1)
        }
        return .launcher(app: arguments[1], .line(arguments[2]))
    }

    /// Ignores what follows the command (flags for CredHub), as `launcher` does.
    private static func shell(_ arguments: [SystemText]) throws(LauncherError) -> Invocation {
        let words = arguments.dropFirst()
        guard words.first?.isEmpty != true else { throw .usage("Usage: \(shellUsage)", exitCode: 1) }
        return .shell(app: words.first, command: words.dropFirst().first)
    }

    /// The layer with the lifecycle programs has the name `shell` only if this text is in the program: an earlier
    /// `launch` would start the app under that name.
    private static let shellUsage = "shell [APP_DIR [COMMAND]]"

    private static let help = """
        launch starts an app from its droplet.

        Usage: launch                  START_COMMAND, else the droplet's 'web' process
               launch TYPE             that process type of the droplet (staging_info.yml, Procfile, launch.yml)
               launch 'COMMAND LINE'   one argument that is no process type: a command for the shell
               launch PROGRAM ARG...   the program with these arguments, as they are
               launch -- PROGRAM...    the same, whatever the program's name

        HOME, TMPDIR, DEPS_DIR, PORT, VCAP_APPLICATION, DATABASE_URL and the CF_INSTANCE_ variables are set, and the
        scripts in ../profile.d, .profile.d and .profile sourced first. As process 1 it forwards signals to the app's
        process group, reaps orphans and exits with the app's status. Called dumb-init or launcher, it is those; as
        \(shellUsage) it runs a command, or else an interactive shell, in the app's environment and without .profile.

        """
}

/// Why nothing can be started. The text goes to the app's log: it names files and variables, and quotes none of them.
package enum LauncherError: Error, Hashable, Sendable {
    /// The arguments are not valid; each program has its own exit code for that.
    case usage(String, exitCode: Int32)
    /// No process of that type has a command. `looked` has a remark for each place where one was looked for.
    case noStartCommand(type: String, looked: [String])
    case appDirectory(path: String, reason: String)
    case noShell(looked: [String])
    /// The program is missing.
    case notFound(name: String, reason: String)
    /// The program is there but can't be executed.
    case notExecutable(name: String, reason: String)
}

extension LauncherError {
    /// The exit code: 1 as with the predecessors' launchers, 126 and 127 as with shells.
    package var exitCode: Int32 {
        switch self {
        case .usage(_, let exitCode): exitCode
        case .noStartCommand, .appDirectory: 1
        case .noShell, .notFound: 127
        case .notExecutable: 126
        }
    }
}

extension LauncherError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .usage(let text, _): text
        case .noStartCommand(let type, let looked):
            "no start command for the process type '\(type)': \(looked.joined(separator: "; ")). "
                + "Set START_COMMAND or add '\(type): COMMAND' to the app's Procfile and stage it again"
        case .appDirectory(let path, let reason): "the app's directory \(path): \(reason)"
        case .noShell(let looked): "this image has no shell: none of \(looked.joined(separator: ", ")) is there"
        case .notFound(let name, let reason), .notExecutable(let name, let reason): "\(name): \(reason)"
        }
    }
}
