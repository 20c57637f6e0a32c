import Configuration
import HTTPServer
import Identity
import Yams

/// Finds the values of settings: flags win over the environment, the environment over the file, and the file over what
/// is built in.
struct SettingsSource {
    private let reader: ConfigReader

    /// - Parameters:
    ///   - flags: by setting key.
    ///   - file: the path of a YAML or JSON file.
    /// - Throws: `CommandError` for a file that can't be read or has keys that are no settings.
    init(flags: [String: String], environment: [String: String], file: String?) throws {
        // The library's own provider of flags takes any flag and passes over what is none: `ServeCommand` reads them,
        // since a word that means nothing is an error.
        var providers: [any ConfigProvider] = [
            InMemoryProvider(name: "flags", values: Self.keyed(flags)),
            EnvironmentVariablesProvider(environmentVariables: environment).prefixKeys(with: "cistern"),
        ]
        if let file {
            providers.append(InMemoryProvider(name: file, values: Self.keyed(try SettingsFile.read(file))))
        }
        reader = ConfigReader(providers: providers)
    }

    /// The text that is in force, as `--print-config` shows it.
    /// - Throws: `CommandError` that names the setting, if the text is not of the setting's kind.
    func text(_ setting: Setting) throws -> String {
        let text = reader.string(forKey: Self.configKey(setting.key)) ?? setting.fallback
        guard let normal = setting.kind.normal(text) else { throw Self.refusal(setting, text) }
        return normal
    }

    /// The value that is in force.
    /// - Throws: `CommandError` that names the setting, if the text is no value for it.
    func value<Value>(_ path: KeyPath<SettingTable, Setting>, _ parse: (String) throws -> Value?) throws -> Value {
        let setting = Setting.table[keyPath: path]
        let text = try text(setting)
        do {
            if let value = try parse(text) { return value }
        } catch let error as ServerError {
            throw CommandError("\(setting.key) (\(setting.flag), \(setting.variable)): \(error)")
        }
        throw Self.refusal(setting, text)
    }

    /// The number that is in force, of a setting that takes numbers.
    func number(_ path: KeyPath<SettingTable, Setting>) throws -> Int64 { try value(path) { Int64($0) } }

    /// The same; nil for 0, which stands for no limit.
    func limit(_ path: KeyPath<SettingTable, Setting>) throws -> Int64? {
        let number = try number(path)
        return number == 0 ? nil : number
    }

    /// What is in force, of a setting that takes true or false.
    func flag(_ path: KeyPath<SettingTable, Setting>) throws -> Bool { try value(path) { Bool($0) } }

    /// The text that is in force; nil if it is empty.
    func path(_ path: KeyPath<SettingTable, Setting>) throws -> String? {
        let text = try text(Setting.table[keyPath: path])
        return text.isEmpty ? nil : text
    }

    private static func refusal(_ setting: Setting, _ text: String) -> CommandError {
        CommandError(
            "'\(printable(text))' is no value for \(setting.key) (\(setting.flag), \(setting.variable))"
                + (setting.kind.takes.map { ", which takes \($0)" } ?? "") + ": \(setting.what)")
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
}

/// A file with settings.
///
/// Scalars are taken as they are written: YAML reads `off` as false and `1_000` as a number, but what a text means is
/// for the setting's kind to say.
private struct SettingsFile {
    let path: String
    private var values: [String: String] = [:]

    /// The settings of a file, by key.
    /// - Throws: `CommandError`, which names the file and what is wrong in it.
    static func read(_ path: String) throws -> [String: String] {
        let text = try ConfigurationFile.read(path)
        var file = SettingsFile(path: path)
        do {
            if let root = try Yams.compose(yaml: text) { try file.take(root, key: "") }
        } catch let error as YamlError {
            let fault = error.fault
            throw CommandError(
                "\(printable(path))\(fault.line > 0 ? ", line \(fault.line)" : ""): \(fault.reason) (YAML or JSON)")
        }
        return file.values
    }

    private init(path: String) { self.path = path }

    private mutating func take(_ node: Node, key: String) throws {
        switch node {
        case .scalar where key.isEmpty && node.null != nil: return
        case .scalar where key.isEmpty, .sequence where key.isEmpty:
            throw wrong("it has no keys: settings are written as in layers.mode: split", node)
        case .mapping(let members):
            for (name, value) in members {
                guard let name = name.string else { throw wrong("a key is no text", value) }
                try take(value, key: key.isEmpty ? name : "\(key).\(name)")
            }
        case .sequence(let items):
            guard case .list = try setting(key, node).kind else {
                throw wrong("\(printable(key)) takes one value, not a sequence", node)
            }
            try set(key, items.map { try text($0, key: key) }.joined(separator: ","), node)
        case .scalar:
            _ = try setting(key, node)
            try set(key, try text(node, key: key), node)
        case .alias: throw wrong("anchors and aliases can't be used", node)
        }
    }

    private mutating func set(_ key: String, _ text: String, _ node: Node) throws {
        guard values.updateValue(text, forKey: key) == nil else { throw wrong("'\(key)' appears twice", node) }
    }

    private func text(_ node: Node, key: String) throws -> String {
        guard case .scalar(let scalar) = node else {
            throw wrong("\(printable(key)) is a sequence with something else than texts in it", node)
        }
        return node.null == nil ? scalar.string : ""
    }

    private func setting(_ key: String, _ node: Node) throws -> Setting {
        if let setting = Setting.all.first(where: { $0.key == key }) { return setting }
        throw wrong(
            "'\(printable(key))' is no setting. Settings are: \(Setting.all.map(\.key).joined(separator: ", "))", node)
    }

    private func wrong(_ reason: String, _ node: Node) -> CommandError {
        CommandError("\(printable(path))\(node.mark.map { ", line \($0.line)" } ?? ""): \(reason)")
    }
}
