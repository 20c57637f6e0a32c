import Configuration
import Foundation
import Yams

/// Where settings come from: flags before the environment before the file before what is built in.
struct SettingsSource {
    private let reader: ConfigReader

    /// - Parameters:
    ///   - flags: by setting key.
    ///   - file: the path of a YAML or JSON file.
    /// - Throws: `CommandError` for a file that can't be read or has keys that are no settings.
    init(flags: [String: String], environment: [String: String], file: String?) throws {
        var providers: [any ConfigProvider] = [
            InMemoryProvider(name: "flags", values: Self.keyed(flags)),
            EnvironmentVariablesProvider(environmentVariables: environment).prefixKeys(with: "cistern"),
        ]
        if let file { providers.append(InMemoryProvider(name: file, values: Self.keyed(try Self.read(file)))) }
        reader = ConfigReader(providers: providers)
    }

    /// The text that is in force.
    func text(_ setting: Setting) -> String {
        reader.string(forKey: Self.configKey(setting.key)) ?? setting.fallback
    }

    /// The value that is in force.
    /// - Throws: `CommandError` naming the setting if the text is not one.
    func value<Value>(_ setting: Setting, _ parse: (String) -> Value?) throws -> Value {
        let text = text(setting)
        guard let value = parse(text) else {
            throw CommandError(
                "'\(printable(text))' is no value for \(setting.key) (\(setting.flag), \(setting.variable)): \(setting.help)"
            )
        }
        return value
    }

    private static func configKey(_ key: String) -> ConfigKey {
        ConfigKey(key.split(separator: ".").map(String.init))
    }

    private static func keyed(_ values: [String: String]) -> [AbsoluteConfigKey: ConfigValue] {
        Dictionary(
            uniqueKeysWithValues: values.map { key, value in
                (AbsoluteConfigKey(configKey(key)), ConfigValue(.string(value), isSecret: false))
            })
    }

    /// A file's settings by key.
    private static func read(_ path: String) throws -> [String: String] {
        let file = try ConfigurationFile.read(path)
        let root: Any?
        do { root = try Yams.load(yaml: file) } catch {
            throw CommandError("\(path) is neither YAML nor JSON: \(error)")
        }
        var values: [String: String] = [:]
        try flatten(root ?? [String: Any](), prefix: "", path: path, into: &values)
        let known = Set(Setting.all.map(\.key))
        let unknown = values.keys.filter { !known.contains($0) }.sorted()
        guard unknown.isEmpty else {
            throw CommandError(
                "\(path) has keys that are no settings: \(unknown.joined(separator: ", ")). "
                    + "Known are: \(Setting.all.map(\.key).joined(separator: ", "))")
        }
        return values
    }

    private static func flatten(_ node: Any, prefix: String, path: String, into values: inout [String: String]) throws {
        switch node {
        case let members as [String: Any]:
            for (name, value) in members {
                try flatten(value, prefix: prefix.isEmpty ? name : "\(prefix).\(name)", path: path, into: &values)
            }
        case let list as [Any]: values[prefix] = list.map { "\($0)" }.joined(separator: ",")
        case let text as String: values[prefix] = text
        case let number as Int: values[prefix] = String(number)
        case let flag as Bool:
            // YAML takes `off` for false, which not every setting is.
            let isOnOff = Setting.all.contains { $0.key == prefix && $0.fallback == "off" }
            values[prefix] = isOnOff ? (flag ? "on" : "off") : String(flag)
        case is NSNull: values[prefix] = ""
        default: throw CommandError("\(path): '\(prefix)' has a value that is neither text nor a number")
        }
    }
}
