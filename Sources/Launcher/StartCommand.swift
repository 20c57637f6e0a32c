/// What an app is started with.
package enum StartCommand: Hashable, Sendable {
    /// A line for a shell.
    case shell(SystemText)
    /// A line that is handed to the program of the droplet's entrypoint prefix (shell words) instead of a shell.
    case prefixed(SystemText, prefix: String)
    /// A program and its arguments, as they are.
    case program([SystemText])
}

extension StartCommand {
    /// The process type that is started when none is named.
    package static let defaultType = "web"

    /// Finds the command to start.
    ///
    /// - Parameters:
    ///   - request: what the arguments ask for.
    ///   - override: START_COMMAND, if it is set; it counts only when the arguments ask for nothing.
    ///   - stagingInfo: what was found of the droplet's `staging_info.yml`.
    ///   - prefix: the droplet's entrypoint prefix, if it has one.
    ///   - sources: reads the files in which process types are looked up, the first that has one wins. Called only when
    ///     they are needed.
    /// - Throws: `.noStartCommand`.
    package static func resolve(
        _ request: LaunchRequest, override: SystemText?, stagingInfo: CommandSource, prefix: String?,
        sources: () -> [CommandSource]
    ) throws(LauncherError) -> StartCommand {
        func line(_ text: SystemText) -> StartCommand {
            if let prefix { .prefixed(text, prefix: prefix) } else { .shell(text) }
        }
        switch request {
        case .program(let words):
            return .program(words)
        case .line(let text) where !text.isEmpty:
            return line(text)
        case .word(let word):
            let type = word.string.flatMap { ProcessCommand.isType($0) ? $0 : nil }
            let command = type.flatMap { type in
                sources().lazy.compactMap { $0.command(type) }.first ?? stagingInfo.command(type)
            }
            // A word that is no process type is a command, as people expect of `podman run IMAGE bash`.
            return command.map { line(SystemText($0)) } ?? .shell(word)
        case .line, .standard:
            if request == .standard, let override, !override.isEmpty { return line(override) }
            if let command = stagingInfo.command(defaultType) { return line(SystemText(command)) }
            let sources = sources()
            if let command = sources.lazy.compactMap({ $0.command(defaultType) }).first {
                return line(SystemText(command))
            }
            let given = request == .standard ? "START_COMMAND is not set" : "the start command argument is empty"
            throw .noStartCommand(
                type: defaultType, looked: [given] + ([stagingInfo] + sources).map { $0.remark(defaultType) })
        }
    }
}

/// The program that is executed in the end.
package struct LaunchPlan: Hashable, Sendable {
    /// The program's name for messages.
    package let name: String
    /// Paths to try in turn, as execvp(3) does.
    package let candidates: [SystemText]
    /// The argument vector, the program's name first.
    package let arguments: [SystemText]
    package let environment: Environment

    /// Plans a program with its arguments. It is searched for in PATH if its name has no slash.
    package init(program words: [SystemText], environment: Environment) {
        let program = words.first ?? ""
        self.init(
            name: program.display, candidates: Self.candidates(program, path: environment.value("PATH")),
            arguments: words, environment)
    }

    /// Plans an app whose scripts are sourced first. Without scripts, no shell is started only to become the app.
    /// - Throws: `LauncherError.noShell` if a shell is needed and there is none.
    package init(
        _ command: StartCommand, scripts: [SystemText], shell: Shell?, environment: Environment
    ) throws(LauncherError) {
        if scripts.isEmpty, case .program(let words) = command {
            self.init(program: words, environment: environment)
            return
        }
        guard let shell else { throw .noShell(looked: Shell.places.map(\.display)) }
        let script: SystemText =
            if scripts.isEmpty, case .shell(let line) = command {
                line
            } else {
                ShellScript.text(sourcing: scripts, then: command, shell: shell)
            }
        self.init(
            name: shell.path.display, candidates: [shell.path], arguments: [shell.name, "-c", script], environment)
    }

    private init(name: String, candidates: [SystemText], arguments: [SystemText], _ environment: Environment) {
        self.name = name
        self.candidates = candidates
        self.arguments = arguments
        self.environment = environment
    }

    private static func candidates(_ program: SystemText, path: SystemText?) -> [SystemText] {
        guard !program.isEmpty else { return [] }
        guard !program.bytes.contains(UInt8(ascii: "/")) else { return [program] }
        return (path ?? "/bin:/usr/bin").bytes
            .split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
            .map { SystemText(bytes: $0.isEmpty ? [UInt8(ascii: ".")] : Array($0)).appending(component: program) }
    }
}

/// The shell that runs start commands.
package struct Shell: Hashable, Sendable {
    /// The paths where a shell is looked for, the preferred one first. A rootfs without bash has sh.
    package static let places: [SystemText] = ["/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh"]

    /// The shell of this system, if it has one.
    static var found: Shell? { places.first(where: System.isExecutable).map(Shell.init) }

    package let path: SystemText
    /// The name that the shell gets as its first argument and shows in messages.
    package var name: SystemText { path.lastComponent }

    package init(path: SystemText) { self.path = path }
}

/// The text that sources an app's profile scripts and then becomes the app.
package enum ShellScript {
    /// The text lists the scripts one by one: a loop's order would depend on the locale, and a script that changes the
    /// shell's arguments would disturb it.
    package static func text(sourcing scripts: [SystemText], then command: StartCommand, shell: Shell) -> SystemText {
        var bytes: [UInt8] = []
        for script in scripts {
            bytes += Array(". ".utf8) + quoted(script) + Array("\n".utf8)
        }
        bytes += Array("exec ".utf8)
        switch command {
        case .shell(let line):
            // The last word is the name that the shell gives itself in messages.
            let words = [shell.path, "-c", line, shell.name].map(quoted)
            bytes += Array(words.joined(separator: [UInt8(ascii: " ")]))
        case .prefixed(let line, let prefix):
            bytes += Array(prefix.utf8) + [UInt8(ascii: " ")] + quoted(line)
        case .program(let words):
            bytes += Array(words.map(quoted).joined(separator: [UInt8(ascii: " ")]))
        }
        return SystemText(bytes: bytes)
    }

    /// The text in single quotes, so that a shell takes it as one word, whatever is in it.
    static func quoted(_ text: SystemText) -> [UInt8] {
        let quote = UInt8(ascii: "'")
        return [quote] + text.bytes.flatMap { $0 == quote ? Array(#"'\''"#.utf8) : [$0] } + [quote]
    }
}
