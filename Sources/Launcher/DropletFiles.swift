import JSON

/// Reads the files of a droplet that tell how its processes are started.
enum DropletReader {
    /// How many bytes are read of each of these files at most; real ones are far smaller.
    static let limit = 1 << 20

    static func stagingInfo(_ layout: DropletPaths) -> (source: CommandSource, info: StagingInfo?) {
        var info: StagingInfo?
        let source = source(layout.stagingInfo) { text in
            do throws(StagingInfoError) {
                let parsed = try StagingInfo(parsing: text)
                info = parsed
                let command = parsed.startCommand.map { ProcessCommand(type: StartCommand.defaultType, command: $0) }
                return .processes(command.map { [$0] } ?? [])
            } catch {
                return .unreadable(error.reason)
            }
        }
        return (source, info)
    }

    /// The sources of process types, the one that wins first: the Procfile, as at staging, then the buildpacks' launch
    /// files, beginning with the last buildpack.
    static func processSources(_ layout: DropletPaths) -> [CommandSource] {
        let launchFiles = System.names(in: layout.dependencies)
            .filter { !$0.isEmpty && $0.bytes.allSatisfy((UInt8(ascii: "0")...UInt8(ascii: "9")).contains) }
            .sorted { ($0.bytes.count, $0) > ($1.bytes.count, $1) }
            .map { layout.launchFile(index: $0) }
            .map { path in source(path, parse: launchFile) }
            .filter { $0.content != .missing }
        return [source(layout.procfile) { .processes(Procfile.parse($0)) }] + launchFiles
    }

    private static func launchFile(_ text: String) -> CommandSource.Content {
        do {
            return .processes(try LaunchFile.parse(text))
        } catch {
            return .unreadable(error.description)
        }
    }

    /// The scripts to source before anything starts, in their order: all but hidden files, as with the predecessors.
    static func profileScripts(_ layout: DropletPaths) -> [SystemText] {
        layout.profileDirectories.flatMap { directory in
            System.names(in: directory).filter { !$0.hasPrefix(".") }.map { directory.appending(component: $0) }
        }.filter(System.isFile)
    }

    /// The app's `.profile` if it has one, which is sourced last.
    static func profile(_ layout: DropletPaths) -> [SystemText] { [layout.profile].filter(System.isFile) }

    private static func source(
        _ path: SystemText, parse: (String) -> CommandSource.Content
    ) -> CommandSource {
        let content: CommandSource.Content
        do {
            if let bytes = try System.contents(of: path, limit: limit) {
                content =
                    String(validating: bytes.withoutByteOrderMark, as: UTF8.self).map(parse)
                    ?? .unreadable("it is not UTF-8")
            } else {
                content = .missing
            }
        } catch {
            content = .unreadable(error.reason)
        }
        return CommandSource(place: path.display, content: content)
    }
}

/// The paths of a droplet's parts, all of which follow from the app's directory.
package struct DropletPaths: Hashable, Sendable {
    /// The paths in the images that Cistern composes.
    package static let standard = DropletPaths(app: "/home/vcap/app")

    /// An absolute path.
    package let app: SystemText

    package init(app: SystemText) { self.app = app }

    private func home(_ name: SystemText) -> SystemText { (app + "/../" + name).absolute(from: "/") }

    package var temporary: SystemText { home("tmp") }
    package var dependencies: SystemText { home("deps") }
    package var stagingInfo: SystemText { home("staging_info.yml") }
    package var procfile: SystemText { app.appending(component: "Procfile") }

    /// The directories of profile scripts: the buildpacks' first, then the app's own.
    package var profileDirectories: [SystemText] { [home("profile.d"), app.appending(component: ".profile.d")] }
    package var profile: SystemText { app.appending(component: ".profile") }

    /// The launch file of the buildpack with that index.
    package func launchFile(index: SystemText) -> SystemText {
        dependencies.appending(component: index).appending(component: "launch.yml")
    }
}

/// A file that may have the commands of process types, and what was found in it.
package struct CommandSource: Hashable, Sendable {
    package enum Content: Hashable, Sendable {
        case missing
        /// The reason why the file can't be read, which quotes nothing of it.
        case unreadable(String)
        case processes([ProcessCommand])
    }

    /// The file's path, for messages.
    package let place: String
    package let content: Content

    package init(place: String, content: Content) {
        self.place = place
        self.content = content
    }

    package func command(_ type: String) -> String? {
        guard case .processes(let processes) = content else { return nil }
        return processes.last { areIdentical($0.type, type) }?.command
    }

    /// For an error message: why this file has no command for a process type.
    package func remark(_ type: String) -> String {
        switch content {
        case .missing: return "\(place) is missing"
        case .unreadable(let reason): return "\(place) is not understood: \(reason)"
        case .processes(let processes):
            let types = processes.map(\.type).filter { $0 != type }
            return types.isEmpty ? "\(place) has none" : "\(place) has only \(types.joined(separator: ", "))"
        }
    }
}

/// A process type of an app and the shell command that starts it.
package struct ProcessCommand: Hashable, Sendable {
    package let type: String
    package let command: String

    package init(type: String, command: String) {
        self.type = type
        self.command = command
    }

    /// Whether a text may be a process type: 1 to 255 letters, digits, `-`, `_` and `.`.
    static func isType(_ text: some StringProtocol) -> Bool {
        (1...255).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
                    true
                default: false
                }
            }
    }
}

/// `staging_info.yml`, which staging leaves in the droplet: JSON despite its name, but YAML from the oldest stagers.
package struct StagingInfo: Hashable, Sendable {
    /// The command of the process type `web`, if it has one.
    package let startCommand: String?
    /// A program that runs the start command instead of a shell, with its arguments as shell words.
    package let entrypointPrefix: String?

    package init(startCommand: String?, entrypointPrefix: String? = nil) {
        self.startCommand = startCommand
        self.entrypointPrefix = entrypointPrefix
    }

    /// - Throws: an error whose reason says what can't be read, and quotes nothing of the text.
    package init(parsing text: String) throws(StagingInfoError) {
        let document: JSONValue
        do {
            document = try JSONValue(parsing: text)
        } catch let jsonError {
            if text.drop(while: \.isWhitespace).first == "{" { throw StagingInfoError(reason: "\(jsonError)") }
            do {
                document = try BlockYAML.parse(text)
            } catch let yamlError {
                throw StagingInfoError(reason: "\(yamlError)")
            }
        }
        guard document.object != nil else { throw StagingInfoError(reason: "it is no mapping") }
        startCommand = Self.filled(document["start_command"])
        entrypointPrefix = Self.filled(document["config"]?["entrypoint_prefix"])
    }

    private static func filled(_ value: JSONValue?) -> String? {
        guard let text = value?.string, !text.isEmpty else { return nil }
        return text
    }
}

/// Why `staging_info.yml` is not understood.
package struct StagingInfoError: Error, Hashable, Sendable {
    package let reason: String
}

/// `deps/<index>/launch.yml`: the processes and sidecars that a buildpack declares.
enum LaunchFile {
    /// The processes in their order. Sidecars are among them, since a sidecar's container is started by its type, too.
    static func parse(_ text: String) throws(BlockYAMLError) -> [ProcessCommand] {
        let document = try BlockYAML.parse(text)
        return (document["processes"]?.array ?? []).compactMap { process in
            guard let type = process["type"]?.string, let command = process["command"]?.string, !command.isEmpty else {
                return nil
            }
            return ProcessCommand(type: type, command: YAMLScalar.withoutTrailingNewline(command))
        }
    }
}

/// A Procfile: `TYPE: COMMAND` lines, which the predecessors read as YAML and other platforms line by line. This reader
/// takes both: each line is a process, a command that is one quoted scalar loses its quotes, `|` and `>` blocks and
/// continued (indented) lines work, and lines that are no processes are skipped.
enum Procfile {
    /// The processes in their order; the last one of a type counts.
    static func parse(_ text: String) -> [ProcessCommand] {
        var processes: [ProcessCommand] = []
        var parser = BlockYAML(text)
        while let line = parser.current {
            parser.position += 1
            guard line.indent == 0, !line.isBlank, let (type, rest) = split(line.text) else { continue }
            // A command that is no YAML is taken as it stands: it begins like a flow or an alias
            // (`[ -f x ] && …`), or goes on after a closing quote.
            let command = (try? BlockYAML.scalarValue(rest, &parser)) ?? String(rest)
            processes.removeAll { $0.type == type }
            if !command.isEmpty { processes.append(ProcessCommand(type: type, command: command)) }
        }
        return processes
    }

    private static func split(_ line: Substring) -> (type: String, rest: Substring)? {
        guard let colon = line.firstIndex(of: ":") else { return nil }
        let type = YAMLScalar.trimmed(line[..<colon])
        guard ProcessCommand.isType(type) else { return nil }
        return (String(type), YAMLScalar.trimmed(line[line.index(after: colon)...]))
    }
}

extension BlockYAML {
    fileprivate static func scalarValue(
        _ text: Substring, _ parser: inout BlockYAML
    ) throws(BlockYAMLError) -> String {
        let position = parser.position
        let value = try parser.value(text, parent: 0, depth: 0)
        guard let scalar = value.string else {
            parser.position = position
            return String(text)
        }
        return YAMLScalar.withoutTrailingNewline(scalar)
    }
}
