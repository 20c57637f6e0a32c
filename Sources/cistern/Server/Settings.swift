import Configuration
import Foundation
import Yams

/// A setting of the server: how it is called in the file, the environment and on the command line.
struct Setting: Hashable, Sendable {
    /// Its name in the file, as in `layers.mode`.
    let key: String
    let fallback: String
    let help: String
    /// Whether its flag may be repeated: the values are joined by commas.
    var isList = false

    /// `CISTERN_` and the key in capitals.
    var variable: String { "CISTERN_" + key.uppercased().replacing(".", with: "_").replacing("-", with: "_") }
    /// `--` and the key, its dots as dashes.
    var flag: String { "--" + key.replacing(".", with: "-") }

    static let listen = Setting(
        key: "listen", fallback: "127.0.0.1:8443", help: "addresses to serve with TLS, HOST:PORT, separated by commas",
        isList: true)
    static let plainListen = Setting(
        key: "plain-listen", fallback: "", help: "addresses to serve without TLS, HOST:PORT, separated by commas",
        isList: true)
    static let publicAddress = Setting(
        key: "public-address", fallback: "",
        help: "how nodes and clients call the registry in printed references, HOST[:PORT]; empty: as the request did")
    static let certificate = Setting(
        key: "tls.certificate", fallback: "", help: "a PEM file with the certificate chain; empty: one is made")
    static let privateKey = Setting(key: "tls.key", fallback: "", help: "a PEM file with the certificate's key")
    static let clientAuthority = Setting(
        key: "tls.client-authority", fallback: "",
        help: "a PEM file with authorities whose client certificates name users")
    static let http2 = Setting(
        key: "tls.http2", fallback: "true", help: "whether clients may choose HTTP/2 over HTTP/1.1")
    static let tokens = Setting(
        key: "auth.token", fallback: "on",
        help:
            "on: clients get short-lived tokens for /v2/, without which docker pulls nothing unless it has logged in; off"
    )
    static let layersMode = Setting(
        key: "layers.mode", fallback: "single", help: "single: a droplet is one layer; split: one for each dependency")
    static let layersCompression = Setting(
        key: "layers.compression", fallback: "gzip", help: "gzip, zstd (containerd 1.5 or newer) or none")
    static let layersLevel = Setting(
        key: "layers.level", fallback: "fast",
        help: "small: gzip layers of droplets with about 15 percent fewer bytes, made several times slower")
    static let defaultStack = Setting(
        key: "stack", fallback: "cisternfs", help: "the stack of droplets that name none")
    static let defaultArchitecture = Setting(
        key: "architecture", fallback: "amd64", help: "the architecture of droplets that name none")
    static let maximumDroplet = Setting(
        key: "limits.droplet-bytes", fallback: "8589934592", help: "the largest droplet or rootfs taken, as sent")
    static let maximumUnpacked = Setting(
        key: "limits.unpacked-bytes", fallback: "34359738368", help: "the most bytes that one may unpack to")
    static let maximumEntries = Setting(
        key: "limits.entries", fallback: "1000000", help: "the most entries that one may have")
    static let conversions = Setting(
        key: "limits.conversions", fallback: "16",
        help: "droplets converted at the same time, fewer where memory is short; others wait")
    static let connectionsOfAddress = Setting(
        key: "limits.connections-per-address", fallback: "1024", help: "open connections of one client address")
    static let requestsOfAddress = Setting(
        key: "limits.requests-per-address", fallback: "0",
        help: "requests a second of one client address, a minute's at once; 0: any number")
    static let memoryBytes = Setting(
        key: "limits.memory-bytes", fallback: "0",
        help: "memory that requests may hold together; 0: half of the container's, or of the machine's")
    static let storeBytes = Setting(
        key: "limits.store-bytes", fallback: "0",
        help: "the most bytes of content in the store; 0: what there is room for")
    static let countInterval = Setting(
        key: "quotas.count-seconds", fallback: "3600", help: "how often what quotas limit is counted anew")
    static let redirects = Setting(
        key: "redirects", fallback: "false", help: "true: clients fetch blobs from the store itself, where it can that")
    static let collectionInterval = Setting(
        key: "gc.interval-seconds", fallback: "21600", help: "how often garbage is collected; 0: only when asked")
    static let collectionGrace = Setting(
        key: "gc.grace-seconds", fallback: "21600",
        help: "how long content stays that nothing refers to: longer than any push takes")
    static let keptDroplets = Setting(
        key: "retention.droplets", fallback: "0", help: "an app's newest droplets that are kept; 0: all")
    static let keptRootfs = Setting(
        key: "retention.rootfs", fallback: "0", help: "a stack's newest rootfs versions that are kept; 0: all")
    static let untaggedAge = Setting(
        key: "retention.untagged-seconds", fallback: "0",
        help: "how long pushed manifests stay that no tag needs; 0: for ever")
    static let unusedPackages = Setting(
        key: "retention.packages-seconds", fallback: "0",
        help: "how long packages stay that nobody uploads or fetches; 0: for ever")
    static let unusedCaches = Setting(
        key: "retention.caches-seconds", fallback: "0",
        help: "how long build caches stay that nobody uploads or fetches; 0: for ever")
    static let unusedResources = Setting(
        key: "retention.resources-seconds", fallback: "0",
        help: "how long files for resource matching stay that no package uses; 0: for ever")
    static let stashMinimum = Setting(
        key: "resources.minimum-bytes", fallback: "65536",
        help: "the smallest file that is kept for resource matching")
    static let stashMaximum = Setting(
        key: "resources.maximum-bytes", fallback: "536870912",
        help: "the largest file that is kept for resource matching")
    static let reportAge = Setting(
        key: "retention.report-seconds", fallback: "3600",
        help: "how old a cluster's report of what runs there may be, lest nothing is retired")
    static let rootfsSignatures = Setting(
        key: "rootfs.signatures", fallback: "optional",
        help: "required: a rootfs is imported only with a signature by a key in DIR/trust")
    static let rootfsDelta = Setting(
        key: "rootfs.delta", fallback: "off",
        help: "auto: images on a new rootfs version are those on the one before and a delta, where it is small")
    static let deltaShare = Setting(
        key: "rootfs.delta-percent", fallback: "10",
        help: "how large an image's deltas may be, in percent of the new version's layers")
    static let deltaChain = Setting(
        key: "rootfs.delta-chain", fallback: "5", help: "how many deltas an image may have")
    static let provenanceKey = Setting(
        key: "provenance.key", fallback: "",
        help:
            "PEM files with Ed25519 private keys that provenance is signed with, separated by commas; empty: it is not")
    static let stagingRunner = Setting(
        key: "staging.runner", fallback: "off",
        help: "local: apps are staged on this machine, as root and beside the store; off: not at all")
    static let stagingTasks = Setting(
        key: "staging.tasks", fallback: "2", help: "staging tasks that run at the same time; others wait")
    static let stagingMemory = Setting(
        key: "staging.memory-bytes", fallback: "2147483648", help: "memory that one build may use")
    static let stagingDisk = Setting(
        key: "staging.disk-bytes", fallback: "4294967296", help: "bytes that one build may write")
    static let stagingTime = Setting(key: "staging.seconds", fallback: "900", help: "how long one build may take")
    static let stagingHosts = Setting(
        key: "staging.allow-hosts", fallback: "",
        help: "hosts that a task's URLs may lead to whatever their address, HOST[:PORT], separated by commas",
        isList: true)
    static let stagingHTTP = Setting(
        key: "staging.allow-http", fallback: "false", help: "whether a task's URLs may be http as well as https")
    static let compatibleStacks = Setting(
        key: "staging.compatible-stacks", fallback: "cisternfs=cflinuxfs4",
        help: "STACK=NAME: what buildpacks see a stack as (CF_STACK), separated by commas", isList: true)
    static let controllerURL = Setting(
        key: "controller.url", fallback: "",
        help:
            "where the cloud controller is told what came of uploads with async=true, as in https://cc:9023/internal/v4"
    )
    static let controllerAuthority = Setting(
        key: "controller.authority", fallback: "",
        help: "a PEM file with authorities that the controller's certificate may be signed by besides the system's")
    static let controllerCertificate = Setting(
        key: "controller.certificate", fallback: "", help: "a PEM file with the certificate shown to the controller")
    static let controllerKey = Setting(
        key: "controller.key", fallback: "", help: "a PEM file with that certificate's key")
    static let drainSeconds = Setting(
        key: "drain-seconds", fallback: "25", help: "how long running transfers may go on after SIGTERM")
    static let logLevel = Setting(
        key: "log.level", fallback: "info", help: "trace, debug, info, notice, warning, error or critical")

    /// All settings, in the order in which they are shown.
    static let all = [
        listen, plainListen, publicAddress, certificate, privateKey, clientAuthority, http2, tokens, redirects,
        layersMode,
        layersCompression,
        layersLevel, defaultStack, defaultArchitecture, maximumDroplet, maximumUnpacked, maximumEntries, conversions,
        connectionsOfAddress, requestsOfAddress, memoryBytes, storeBytes, countInterval, collectionInterval,
        collectionGrace,
        keptDroplets, keptRootfs, untaggedAge, unusedPackages, unusedCaches, unusedResources, reportAge,
        stashMinimum, stashMaximum, rootfsSignatures, rootfsDelta, deltaShare, deltaChain,
        provenanceKey, stagingRunner, stagingTasks, stagingMemory, stagingDisk, stagingTime, stagingHosts, stagingHTTP,
        compatibleStacks, controllerURL, controllerAuthority, controllerCertificate, controllerKey,
        drainSeconds, logLevel,
    ]
}

/// Finds the values of settings: flags win over the environment, the environment over the file, and the file over what
/// is built in.
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
    /// - Throws: `CommandError` that names the setting, if the text is no value for it.
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

    /// Reads a file's settings, by key.
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
            // YAML takes `off` for false, but some settings have it as a word.
            let isOnOff = Setting.all.contains { $0.key == prefix && ["on", "off"].contains($0.fallback) }
            values[prefix] = isOnOff ? (flag ? "on" : "off") : String(flag)
        case is NSNull: values[prefix] = ""
        default: throw CommandError("\(path): '\(prefix)' has a value that is neither text nor a number")
        }
    }
}
