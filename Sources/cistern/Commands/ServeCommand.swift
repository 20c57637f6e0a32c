import ArgumentParser
import Foundation
import JSON

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "Run the server.",
        discussion: """
            A first start makes what is missing in the data directory: a certificate authority and a certificate, the \
            users 'operator' and 'pull' with their passwords in files, and the object store.

            Each setting can stand in the --config file, in the environment (CISTERN_…) or in a flag; later ones win. \
            --print-config lists them with the values in force.

            SETTINGS:
            \(Setting.all.map(\.help).joined(separator: "\n"))
            """)

    @Option(help: "The directory that holds everything the server keeps.") var data: String
    @Option(help: "A YAML or JSON file with settings.") var config: String?
    @Flag(help: "Print the settings in force and exit.") var printConfig = false
    @Flag(help: "Start without what a damaged or missing journal of the store held, which is lost then.")
    var acceptLoss = false
    @Option(
        help: ArgumentHelp(
            "The lifecycle programs for an architecture; without it those beside this program.", valueName: "arch=dir"))
    var lifecycle: [String] = []

    /// Flags of settings. They are not declared one by one, so that a setting is described in one place alone.
    @Argument(
        parsing: .allUnrecognized, help: ArgumentHelp("A setting, as listed above.", valueName: "--setting value"))
    var settings: [String] = []

    /// The values of settings that flags give, by the settings' keys. A list's flag may be repeated.
    /// - Throws: `ValidationError`, a wrong usage.
    private static func values(_ arguments: [String]) throws -> [String: String] {
        let known = Dictionary(uniqueKeysWithValues: Setting.all.map { ($0.flag, $0) })
        var values: [String: String] = [:]
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard let setting = known[parts[0]] else {
                throw ValidationError(
                    argument.hasPrefix("-")
                        ? "Unknown option '\(printable(parts[0]))'" : "Unexpected argument '\(printable(argument))'")
            }
            guard let value = parts.count > 1 ? parts[1] : rest.popFirst() else {
                throw ValidationError("Missing value for '\(setting.flag)'")
            }
            guard parts.count > 1 || known[value] == nil else {
                throw ValidationError("Missing value for '\(setting.flag)'")
            }
            if case .list = setting.kind, let before = values[setting.key] {
                values[setting.key] = "\(before),\(value)"
            } else {
                values[setting.key] = value
            }
        }
        return values
    }

    /// A value as YAML: as it is, or in quotes where that would be read as something else.
    private static func yaml(_ text: String) -> String {
        let isPlain =
            text.isEmpty || text.wholeMatch(of: /[A-Za-z0-9\/.](?:[A-Za-z0-9_.,\/=@:-]*[A-Za-z0-9_.,\/=-])?/) != nil
        return isPlain && text != "null" ? text : JSONValue.string(text).canonicalText
    }

    func validate() throws { _ = try Self.values(settings) }

    func run() async throws {
        let source = try SettingsSource(
            flags: try Self.values(settings), environment: ProcessInfo.processInfo.environment, file: config)
        let inForce = try ServerSettings(source)
        if printConfig {
            for setting in Setting.all {
                print("\(setting.key): \(Self.yaml(try source.text(setting)))  # \(setting.what)")
            }
            return
        }
        try await Server(
            directory: DataDirectory(path: data), settings: inForce, lifecycle: try LifecyclePrograms(lifecycle),
            acceptsLoss: acceptLoss
        ).run()
    }
}

extension Setting {
    /// The flag and, below it, what it is for, in lines that `--help` breaks no further.
    fileprivate var help: String {
        let text = fallback.isEmpty ? what : "\(what) (default: \(fallback))"
        var lines = ["  \(flag)", "     "]
        for word in text.split(separator: " ") {
            if lines[lines.count - 1].count + 1 + word.count > 79 { lines.append("     ") }
            lines[lines.count - 1] += " \(word)"
        }
        return lines.joined(separator: "\n")
    }
}
