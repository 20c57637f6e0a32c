import JSON
import Launcher

/// A process of the app, or a program that runs beside others of its processes.
struct AppProcess: Hashable {
    let type: String
    let command: String
    /// The types beside which it runs; empty for a process of its own.
    var sidecarFor: [String] = []
    /// MiB; 0 if it says nothing.
    var memory: Int64 = 0
}

/// The processes of an app in the order in which they were first named.
struct AppProcesses: Hashable {
    private(set) var all: [AppProcess] = []

    /// Adds the processes of one file. One of a type that is there already takes the other's place; but within the
    /// file a process and a sidecar may have the same type.
    mutating func merge(_ processes: [AppProcess]) {
        let earlier = all.endIndex
        for process in processes {
            let place =
                all.firstIndex { $0.type == process.type && $0.sidecarFor.isEmpty == process.sidecarFor.isEmpty }
                ?? all[..<earlier].firstIndex { $0.type == process.type }
            if let place {
                all[place] = process
            } else {
                all.append(process)
            }
        }
    }

    /// The commands of all processes that are no sidecars, by type.
    var commands: ByName<String> {
        ByName(
            all.filter { $0.sidecarFor.isEmpty }.map { ($0.type, $0.command) }, uniquingKeysWith: { _, last in last })
    }
}

/// Why one of the lifecycle's YAML files is not readable.
struct LaunchFileError: Error, CustomStringConvertible {
    let description: String
}

extension AppProcesses {
    static let maximumSize = 1 << 20

    /// The processes of a buildpack's launch.yml:
    /// `processes: [{type, command, platforms: {cloudfoundry: {sidecar_for: […]}}, limits: {memory}}]`.
    static func launch(_ bytes: [UInt8]) throws(LaunchFileError) -> [AppProcess] {
        let list = try parse(bytes)["processes"]
        guard let list else { return [] }
        guard let elements = list.elements else { throw LaunchFileError(description: "processes is no list") }
        var processes: [AppProcess] = []
        for element in elements {
            guard element.pairs != nil, let type = text(element["type"]), let command = text(element["command"]) else {
                throw LaunchFileError(description: "a process needs a type and a command that are text")
            }
            var process = AppProcess(type: type, command: command)
            if let targets = element["platforms"]?["cloudfoundry"]?["sidecar_for"] {
                let names = targets.elements?.compactMap(\.text)
                guard let names, names.count == targets.elements?.count else {
                    throw LaunchFileError(description: "sidecar_for is no list of types")
                }
                process.sidecarFor = names
            }
            if let memory = element["limits"]?["memory"] {
                guard let number = memory.text.flatMap({ Int64($0) }), number >= 0 else {
                    throw LaunchFileError(description: "memory is no number of MiB")
                }
                process.memory = number
            }
            processes.append(process)
        }
        return processes
    }

    /// The processes of what a buildpack's release prints: `default_process_types: {type: command}`.
    static func release(_ bytes: [UInt8]) throws(LaunchFileError) -> [AppProcess] {
        try commands(parse(bytes)["default_process_types"] ?? .mapping([]))
    }

    /// The processes of a Procfile: `type: command` on lines of their own, which is YAML.
    static func procfile(_ bytes: [UInt8]) throws(LaunchFileError) -> [AppProcess] { try commands(parse(bytes)) }

    private static func commands(_ node: YAMLNode) throws(LaunchFileError) -> [AppProcess] {
        guard let pairs = node.pairs else { throw LaunchFileError(description: "it does not map types to commands") }
        var processes: [AppProcess] = []
        for pair in pairs {
            guard let command = pair.value.isNull ? "" : pair.value.text else {
                throw LaunchFileError(description: "the command of \(pair.key) is no text")
            }
            processes.append(AppProcess(type: pair.key, command: command))
        }
        return processes
    }

    /// Text; an empty one where there is nothing, and nil for what is no text.
    private static func text(_ node: YAMLNode?) -> String? { node.map(\.text) ?? "" }

    static func parse(_ bytes: [UInt8]) throws(LaunchFileError) -> YAMLNode {
        do {
            let node = try YAMLReader.parse(bytes)
            if node.isNull { return .mapping([]) }
            if node.pairs != nil { return node }
        } catch {
            throw LaunchFileError(description: "\(error)")
        }
        throw LaunchFileError(description: "it is no mapping")
    }
}

/// A buildpack as the result names it.
struct UsedBuildpack: Hashable {
    let key: String
    var name: String
    var version = ""
    /// What stands before the start command; empty for nothing.
    var entrypointPrefix = ""
    var outputMetadata: JSONValue?

    /// What a buildpack may say of itself in `config.yml` of its deps directory: name, version,
    /// `config.entrypoint_prefix`, `output_metadata`. What is not readable there is not missed.
    mutating func take(config bytes: [UInt8]) {
        guard let config = try? YAMLReader.parse(bytes) else { return }
        if let text = config["name"]?.text, !text.isEmpty { name = text }
        version = config["version"]?.text ?? ""
        entrypointPrefix = config["config"]?["entrypoint_prefix"]?.text ?? ""
        if let metadata = config["output_metadata"], case .object = metadata.json { outputMetadata = metadata.json }
    }

    fileprivate var config: JSONValue? {
        entrypointPrefix.isEmpty ? nil : ["entrypoint_prefix": .string(entrypointPrefix)]
    }

    fileprivate var json: JSONValue {
        var members: JSONObject = ["key": .string(key), "name": .string(name)]
        if !version.isEmpty { members["version"] = .string(version) }
        members["config"] = config
        members["output_metadata"] = outputMetadata
        return .object(members)
    }
}

/// What the controller and the launcher are told of a build.
struct StagingResult {
    /// In the order in which they ran; of buildpacks that were asked, the one that answered.
    var buildpacks: [UsedBuildpack] = []
    var processes = AppProcesses()
    var failure: BuildError?

    /// `result.json`. A failed build's has `failure` with `message` and, where they are known, `phase`, `buildpack` and
    /// `exit_code` or `signal` of the program that failed.
    var json: JSONValue {
        var metadata: JSONObject = [
            "detected_buildpack": .string(buildpacks.last?.name ?? ""), "buildpacks": .array(buildpacks.map(\.json)),
        ]
        if let key = buildpacks.last?.key, !key.isEmpty { metadata["buildpack_key"] = .string(key) }
        var result: JSONObject = [
            "lifecycle_metadata": .object(metadata),
            "process_types": .object(processes.commands.mapValues { .string($0) }),
            "execution_metadata": "",
            "lifecycle_type": "buildpack",
        ]
        let own = processes.all.filter { $0.sidecarFor.isEmpty }
        if !own.isEmpty {
            result["processes"] = .array(own.map { ["type": .string($0.type), "command": .string($0.command)] })
        }
        let sidecars = processes.all.filter { !$0.sidecarFor.isEmpty }
        if !sidecars.isEmpty { result["sidecars"] = .array(sidecars.map(Self.sidecar)) }
        if let failure { result["failure"] = Self.failure(failure) }
        return .object(result)
    }

    private static func sidecar(_ process: AppProcess) -> JSONValue {
        var members: JSONObject = [
            "name": .string(process.type), "command": .string(process.command),
            "process_types": .array(process.sidecarFor.map { .string($0) }),
        ]
        if process.memory > 0 { members["memory"] = .integer(process.memory) }
        return .object(members)
    }

    static func failure(_ error: BuildError) -> JSONValue {
        var members: JSONObject = ["message": .string(error.message)]
        if let phase = error.phase { members["phase"] = .string(phase.rawValue) }
        if let buildpack = error.buildpack { members["buildpack"] = .string(buildpack) }
        guard let end = error.end else { return .object(members) }
        switch end {
        case .exited(let code): members["exit_code"] = .integer(code)
        case .killed(let signal): members["signal"] = .integer(signal)
        }
        return .object(members)
    }

    /// `staging_info.yml`, which is JSON: what the launcher reads.
    var stagingInfo: JSONValue {
        var members: JSONObject = [
            "detected_buildpack": .string(buildpacks.last?.name ?? ""),
            "start_command": .string(processes.commands["web"] ?? ""),
        ]
        members["config"] = buildpacks.last?.config
        return .object(members)
    }
}
