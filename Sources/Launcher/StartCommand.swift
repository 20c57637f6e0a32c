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

    /// - Parameters:
    ///   - request: what the arguments ask for.
    ///   - override: START_COMMAND, where it is set; it counts only when the arguments ask for nothing.
    ///   - stagingInfo: the droplet's, where it is there and understood.
    ///   - sources: where process types are looked up, the first that has it wins; asked only when needed.
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
            // What is no process type is a command, as people expect of `podman run IMAGE bash`.
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
