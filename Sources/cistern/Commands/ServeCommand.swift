import ArgumentParser
import Foundation

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "Run the server.",
        discussion: """
            A first start makes what is missing in the data directory: a certificate authority and a certificate, the \
            users 'operator' and 'pull' with their passwords in files, and the object store.

            Each setting can stand in the --config file, in the environment (CISTERN_…) or in a flag; later ones win. \
            --print-config lists them all.
            """)

    @Option(help: "The directory that holds everything the server keeps.") var data: String
    @Option(help: "A YAML or JSON file with settings.") var config: String?
    @Flag(help: "Print the settings in force and exit.") var printConfig = false
    @Option(
        help: ArgumentHelp(
            "The lifecycle programs for an architecture; without it those beside this program.", valueName: "arch=dir"))
    var lifecycle: [String] = []

    @Option(help: ArgumentHelp("Serve this address with TLS (may be repeated).", valueName: "host:port"))
    var listen: [String] = []
    @Option(help: ArgumentHelp("Serve this address without TLS (may be repeated).", valueName: "host:port"))
    var plainListen: [String] = []
    @Option(help: "A PEM file with the certificate chain.") var tlsCertificate: String?
    @Option(help: "A PEM file with the certificate's key.") var tlsKey: String?
    @Option(help: "single or split.") var layersMode: String?
    @Option(help: "gzip, zstd or none.") var layersCompression: String?
    @Option(help: "The stack of droplets that name none.") var stack: String?
    @Option(help: "The architecture of droplets that name none.") var architecture: String?
    @Option(help: "The largest droplet or rootfs taken, in bytes.") var limitsDropletBytes: String?
    @Option(help: "The most bytes that one may unpack to.") var limitsUnpackedBytes: String?
    @Option(help: "The most entries that one may have.") var limitsEntries: String?
    @Option(help: "Droplets converted at the same time.") var limitsConversions: String?
    @Option(help: "A PEM file with authorities whose client certificates name users.") var tlsClientAuthority: String?
    @Option(help: "Open connections of one client address.") var limitsConnectionsPerAddress: String?
    @Option(help: "Requests a second of one client address; 0: any number.") var limitsRequestsPerAddress: String?
    @Option(help: "Memory that requests may hold, in bytes; 0: half of what there is.") var limitsMemoryBytes: String?
    @Option(help: "The most bytes of content in the store; 0: what there is room for.") var limitsStoreBytes: String?
    @Option(help: "Seconds between counts of what quotas limit.") var quotasCountSeconds: String?
    @Option(help: "true: clients fetch blobs from the store itself.") var redirects: String?
    @Option(help: "Seconds between collections of garbage; 0: only when asked.") var gcIntervalSeconds: String?
    @Option(help: "Seconds that content stays which nothing refers to.") var gcGraceSeconds: String?
    @Option(help: "An app's newest droplets that are kept; 0: all.") var retentionDroplets: String?
    @Option(help: "A stack's newest rootfs versions that are kept; 0: all.") var retentionRootfs: String?
    @Option(help: "Seconds that manifests stay which no tag needs; 0: for ever.") var retentionUntaggedSeconds: String?
    @Option(help: "Seconds that a cluster's report is believed.") var retentionReportSeconds: String?
    @Option(help: "required: a rootfs must be signed by a trusted key; optional.") var rootfsSignatures: String?
    @Option(help: "auto or off: images on a new rootfs version are those before and a delta.") var rootfsDelta: String?
    @Option(help: "How large an image's deltas may be, of the new version's layers.") var rootfsDeltaPercent: String?
    @Option(help: "How many deltas an image may have.") var rootfsDeltaChain: String?
    @Option(help: "A PEM file with the Ed25519 private key that provenance is signed with.") var provenanceKey: String?
    @Option(help: "How long running transfers may go on after SIGTERM.") var drainSeconds: String?
    @Option(help: "trace, debug, info, notice, warning, error or critical.") var logLevel: String?

    private var flags: [String: String] {
        let given: [(Setting, String?)] = [
            (.listen, listen.isEmpty ? nil : listen.joined(separator: ",")),
            (.plainListen, plainListen.isEmpty ? nil : plainListen.joined(separator: ",")),
            (.certificate, tlsCertificate), (.privateKey, tlsKey), (.layersMode, layersMode),
            (.layersCompression, layersCompression), (.defaultStack, stack), (.defaultArchitecture, architecture),
            (.maximumDroplet, limitsDropletBytes), (.maximumUnpacked, limitsUnpackedBytes),
            (.maximumEntries, limitsEntries), (.conversions, limitsConversions),
            (.clientAuthority, tlsClientAuthority), (.connectionsOfAddress, limitsConnectionsPerAddress),
            (.requestsOfAddress, limitsRequestsPerAddress), (.memoryBytes, limitsMemoryBytes),
            (.storeBytes, limitsStoreBytes),
            (.countInterval, quotasCountSeconds), (.redirects, redirects),
            (.collectionInterval, gcIntervalSeconds), (.collectionGrace, gcGraceSeconds),
            (.keptDroplets, retentionDroplets), (.keptRootfs, retentionRootfs),
            (.untaggedAge, retentionUntaggedSeconds), (.reportAge, retentionReportSeconds),
            (.rootfsSignatures, rootfsSignatures), (.rootfsDelta, rootfsDelta), (.deltaShare, rootfsDeltaPercent),
            (.deltaChain, rootfsDeltaChain), (.provenanceKey, provenanceKey), (.drainSeconds, drainSeconds),
            (.logLevel, logLevel),
        ]
        return Dictionary(uniqueKeysWithValues: given.compactMap { setting, value in value.map { (setting.key, $0) } })
    }

    func run() async throws {
        let source = try SettingsSource(
            flags: flags, environment: ProcessInfo.processInfo.environment, file: config)
        let settings = try ServerSettings(source)
        if printConfig {
            for setting in Setting.all { print("\(setting.key): \(source.text(setting))  # \(setting.help)") }
            return
        }
        try await Server(
            directory: DataDirectory(path: data), settings: settings, lifecycle: try LifecyclePrograms(lifecycle)
        ).run()
    }
}
