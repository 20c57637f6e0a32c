/// A setting of the server: how it is called in the file, the environment and on the command line, and what it takes.
struct Setting: Sendable {
    /// What a setting takes.
    enum Kind: Sendable {
        case text
        /// Texts, separated by commas. The flag may be repeated, and the file may have a sequence.
        case list
        /// A whole number.
        case number(ClosedRange<Int64>)
        /// One of some words.
        case choice([String])
        /// `true` or `false`; YAML's `on`, `off`, `yes` and `no` mean the same.
        case flag
    }

    /// Its name in the file, as in `layers.mode`.
    let key: String
    let kind: Kind
    let fallback: String
    /// What it is for, as `--help`, `--print-config`, errors and the documentation say it: plain text without `|`.
    let what: String

    init(_ key: String, _ kind: Kind, fallback: String, what: String) {
        self.key = key
        self.kind = kind
        self.fallback = fallback
        self.what = what
    }

    /// `CISTERN_` and the key in capitals.
    var variable: String { "CISTERN_" + key.uppercased().replacing(".", with: "_").replacing("-", with: "_") }
    /// `--` and the key, its dots as dashes.
    var flag: String { "--" + key.replacing(".", with: "-") }

    static let table = SettingTable()

    /// All settings, in the order in which they are shown: that of their declarations.
    static let all = Mirror(reflecting: table).children.compactMap { $0.value as? Setting }
}

/// Every setting, once: the flags, `--help`, `--print-config` and the documentation's table are made of this.
struct SettingTable: Sendable {
    let listen = Setting(
        "listen", .list, fallback: "127.0.0.1:8443",
        what: "addresses to serve with TLS, HOST:PORT; port 0 picks a free one")
    let plainListen = Setting("plain-listen", .list, fallback: "", what: "addresses to serve without TLS, HOST:PORT")
    let publicAddress = Setting(
        "public-address", .text, fallback: "",
        what: """
            how nodes and clients call the registry, HOST[:PORT]: what printed references and the images' \
            base.name begin with; empty: as each request calls it, and images have no base.name
            """)
    let certificate = Setting(
        "tls.certificate", .text, fallback: "",
        what: "a PEM file with the certificate chain; empty: one is made, signed by DIR/tls/ca.pem")
    let privateKey = Setting("tls.key", .text, fallback: "", what: "a PEM file with the certificate's key")
    let clientAuthority = Setting(
        "tls.client-authority", .text, fallback: "",
        what: "a PEM file with authorities whose client certificates name users")
    let http2 = Setting(
        "tls.http2", .flag, fallback: "true", what: "whether clients may choose HTTP/2; false: HTTP/1.1 only")
    let tokens = Setting(
        "auth.token", .choice(["on", "off"]), fallback: "on",
        what: """
            on: clients get short-lived tokens for /v2/, without which docker pulls nothing unless it has logged \
            in; off: they don't
            """)
    let redirects = Setting(
        "redirects", .flag, fallback: "false",
        what: """
            true: clients fetch blobs from the store itself, where it can give URLs for that (a directory can \
            not)
            """)
    let layersMode = Setting(
        "layers.mode", .choice(["single", "split"]), fallback: "single",
        what: "single: a droplet is one layer; split: one for each deps/INDEX, shared by apps")
    let layersCompression = Setting(
        "layers.compression", .choice(["gzip", "zstd", "none"]), fallback: "gzip",
        what: "of layers: gzip, zstd (containerd 1.5 or newer) or none")
    let layersLevel = Setting(
        "layers.level", .choice(["fast", "small"]), fallback: "fast",
        what: """
            fast; small: droplets' gzip layers by zlib, 9 to 17 percent fewer bytes for six times the processor \
            time
            """)
    let defaultStack = Setting("stack", .text, fallback: "cisternfs", what: "the stack of droplets that name none")
    let defaultArchitecture = Setting(
        "architecture", .choice(["amd64", "arm64"]), fallback: "amd64",
        what: "the architecture of droplets that name none: amd64 or arm64")
    let maximumDroplet = Setting(
        "limits.droplet-bytes", .number(1...(1 << 50)), fallback: "8589934592",
        what: "the largest droplet or rootfs taken, as sent")
    let maximumUnpacked = Setting(
        "limits.unpacked-bytes", .number(1...(1 << 50)), fallback: "34359738368",
        what: "the most bytes that one may unpack to")
    let maximumEntries = Setting(
        "limits.entries", .number(1...100_000_000), fallback: "1000000", what: "the most entries that one may have")
    let conversions = Setting(
        "limits.conversions", .number(1...1024), fallback: "16",
        what: "droplets converted at the same time, fewer where memory is short; others wait")
    let connectionsOfAddress = Setting(
        "limits.connections-per-address", .number(1...1_000_000), fallback: "1024",
        what: "open connections of one client address")
    let requestsOfAddress = Setting(
        "limits.requests-per-address", .number(0...1_000_000), fallback: "0",
        what: "requests a second of one client address, a minute's at once; 0: any number")
    let memoryBytes = Setting(
        "limits.memory-bytes", .number(0...(1 << 50)), fallback: "0",
        what: """
            memory that requests may hold together, 16 MiB at least; 0: half of the container's limit, or of the \
            machine's memory
            """)
    let storeBytes = Setting(
        "limits.store-bytes", .number(0...(1 << 60)), fallback: "0",
        what: "the most bytes of content in the store; 0: what there is room for")
    let countInterval = Setting(
        "quotas.count-seconds", .number(1...year), fallback: "3600",
        what: "how often what quotas limit is counted anew")
    let collectionInterval = Setting(
        "gc.interval-seconds", .number(0...year), fallback: "21600",
        what: "how often garbage is collected; 0: only when asked")
    let collectionGrace = Setting(
        "gc.grace-seconds", .number(1...year), fallback: "21600",
        what: "how long content stays that nothing refers to: longer than any push takes")
    let keptDroplets = Setting(
        "retention.droplets", .number(0...1_000_000), fallback: "0",
        what: "an app's newest droplets that are kept; 0: all")
    let keptRootfs = Setting(
        "retention.rootfs", .number(0...1_000_000), fallback: "0",
        what: "a stack's newest rootfs versions that are kept; 0: all")
    let untaggedAge = Setting(
        "retention.untagged-seconds", .number(0...century), fallback: "0",
        what: "how long pushed manifests stay that no tag needs; 0: for ever")
    let unusedPackages = Setting(
        "retention.packages-seconds", .number(0...century), fallback: "0",
        what: """
            how long packages stay that nobody uploads or fetches; 0: for ever; a package is needed to stage its \
            app again
            """)
    let unusedCaches = Setting(
        "retention.caches-seconds", .number(0...century), fallback: "0",
        what: "how long build caches stay that nobody uploads or fetches; 0: for ever")
    let unusedResources = Setting(
        "retention.resources-seconds", .number(0...century), fallback: "0",
        what: "how long files for resource matching stay that no package uses; 0: for ever")
    let reportAge = Setting(
        "retention.report-seconds", .number(1...year), fallback: "3600",
        what: "how old a cluster's report of what runs there may be; nothing is retired while one is older")
    let stashMinimum = Setting(
        "resources.minimum-bytes", .number(0...(1 << 40)), fallback: "65536",
        what: "the smallest file that is kept for resource matching")
    let stashMaximum = Setting(
        "resources.maximum-bytes", .number(0...(1 << 40)), fallback: "536870912",
        what: "the largest file that is kept for resource matching")
    let rootfsSignatures = Setting(
        "rootfs.signatures", .choice(["optional", "required"]), fallback: "optional",
        what: "optional; required: a rootfs is imported only with a signature by a key in DIR/trust")
    let rootfsDelta = Setting(
        "rootfs.delta", .choice(["off", "auto"]), fallback: "off",
        what: """
            auto: images on a new rootfs version are those on the one before and a delta, where it is small; \
            off: they are whole
            """)
    let deltaShare = Setting(
        "rootfs.delta-percent", .number(0...100), fallback: "10",
        what: "how large an image's deltas may be, in percent of the new version's layers")
    let deltaChain = Setting(
        "rootfs.delta-chain", .number(1...20), fallback: "5", what: "how many deltas an image may have")
    let provenanceKey = Setting(
        "provenance.key", .list, fallback: "",
        what: """
            PEM files (PKCS #8, Ed25519, mode 0600) with private keys that provenance is signed with, an \
            envelope for each; at most 4; empty: it is not signed
            """)
    let stagingRunner = Setting(
        "staging.runner", .choice(["off", "local"]), fallback: "off",
        what: "local: POST /stage/GUID builds apps on this machine, as root and beside the store; off: not at all")
    let stagingTasks = Setting(
        "staging.tasks", .number(1...1000), fallback: "2",
        what: "staging tasks that run at the same time; others wait, spaces in turn")
    let stagingMemory = Setting(
        "staging.memory-bytes", .number((16 << 20)...(1 << 50)), fallback: "2147483648",
        what: "memory that one build may use")
    let stagingDisk = Setting(
        "staging.disk-bytes", .number((64 << 20)...(1 << 50)), fallback: "4294967296",
        what: "bytes that one build may write")
    let stagingTime = Setting(
        "staging.seconds", .number(1...86_400), fallback: "900", what: "how long one build may take")
    let stagingHosts = Setting(
        "staging.allow-hosts", .list, fallback: "",
        what: "hosts that a task's URLs may lead to whatever their address, HOST[:PORT]")
    let stagingHTTP = Setting(
        "staging.allow-http", .flag, fallback: "false", what: "true: a task's URLs may be http as well as https")
    let compatibleStacks = Setting(
        "staging.compatible-stacks", .list, fallback: "cisternfs=cflinuxfs4",
        what: """
            STACK=NAME: what buildpacks see a stack as (CF_STACK) where they know another name only; installed \
            buildpacks for that name are for the stack, too
            """)
    let controllerURL = Setting(
        "controller.url", .text, fallback: "",
        what: """
            where the cloud controller is told what came of uploads with async=true (PATCH URL/packages/GUID), \
            as in https://cc:9023/internal/v4
            """)
    let controllerAuthority = Setting(
        "controller.authority", .text, fallback: "",
        what: "a PEM file with authorities that the controller's certificate may be signed by besides the system's")
    let controllerCertificate = Setting(
        "controller.certificate", .text, fallback: "",
        what: "a PEM file with the certificate shown to the controller")
    let controllerKey = Setting("controller.key", .text, fallback: "", what: "a PEM file with that certificate's key")
    let drainSeconds = Setting(
        "drain-seconds", .number(0...3600), fallback: "25",
        what: "how long running transfers may go on after SIGTERM")
    let logLevel = Setting(
        "log.level", .choice(["trace", "debug", "info", "notice", "warning", "error", "critical"]), fallback: "info",
        what: "the least that is logged: trace, debug, info, notice, warning, error or critical")
}

/// In seconds.
private let year: Int64 = 366 * 86_400
private let century = 100 * year

extension Setting.Kind {
    /// What is taken, for errors; nil where any text is.
    var takes: String? {
        switch self {
        case .text, .list: nil
        case .number(let range): "a whole number from \(range.lowerBound) to \(range.upperBound)"
        case .choice(let words):
            words.count > 1 ? words.dropLast().joined(separator: ", ") + " or " + words[words.count - 1] : words.first
        case .flag: "true or false"
        }
    }

    /// A value in the form that `--print-config` shows; nil for one that is not of this kind.
    func normal(_ text: String) -> String? {
        switch self {
        case .text, .list: text
        case .number(let range): Int64(text).flatMap { range.contains($0) ? String($0) : nil }
        case .choice(let words): words.contains(text) ? text : nil
        case .flag:
            switch text.lowercased() {
            case "true", "on", "yes": "true"
            case "false", "off", "no": "false"
            default: nil
            }
        }
    }
}
