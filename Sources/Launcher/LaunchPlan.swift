/// What is executed in the end.
package struct LaunchPlan: Hashable, Sendable {
    /// The name for messages.
    package let name: String
    /// Paths to try in turn, as execvp(3) does.
    package let candidates: [SystemText]
    /// With the name first.
    package let arguments: [SystemText]
    package let environment: Environment

    /// A program with its arguments, searched for in PATH where its name has no slash.
    package init(program words: [SystemText], environment: Environment) {
        let program = words.first ?? ""
        self.init(
            name: program.display, candidates: Self.candidates(program, path: environment.value("PATH")),
            arguments: words, environment)
    }

    /// An app: its scripts are sourced first. Where there are none, there is one shell less to start.
    /// - Throws: `LauncherError.noShell` if a shell is needed.
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
