import Archive
import Bits
import BitsAPI
import Droplets
import HTTPServer
import Images
import Layers
import Logging
import Maintenance
import OCI
import OperatorAPI
import Rootfs
import Signatures
import Transfer

/// The server's settings, checked before anything starts.
struct ServerSettings: Sendable {
    let listen: [ListenAddress]
    let plainListen: [ListenAddress]
    /// How nodes and clients call the registry, HOST[:PORT]; nil: as each request calls it.
    let publicAddress: String?
    /// The files of certificate and key; nil: the server makes its own.
    let tlsFiles: (certificate: String, key: String)?
    /// The file with the authorities whose client certificates name users; nil: clients are not asked for one.
    let clientAuthority: String?
    let offersHTTP2: Bool
    let givesTokens: Bool
    let layout: DropletLayout
    let defaultStack: StackName
    let defaultArchitecture: Architecture
    let maximumUpload: Int64
    let limits: ConversionLimits
    let conversions: Int
    let connectionsOfAddress: Int
    /// How many requests a second an address may make; nil: any number.
    let requestsOfAddress: Int?
    /// What requests may hold, in bytes.
    let memoryBytes: Int
    /// The most bytes of content in the store; nil: what there is room for.
    let storeBytes: Int64?
    let countInterval: Duration
    let redirects: Bool
    /// The time between collections; nil: garbage is collected only when somebody asks.
    let collectionInterval: Duration?
    /// In nanoseconds.
    let collectionGrace: Int64
    let retention: RetentionPolicy
    let stash: StashRules
    /// When new images get deltas; nil: never, but images that have them keep them.
    let deltas: DeltaPolicy?
    /// The keys that provenance is signed with; without any it is not signed.
    let signingKeys: [SigningKey]
    let rootfsMustBeSigned: Bool
    /// Where the cloud controller is told what came of uploads that nobody waited for; nil: nowhere.
    let controllerURL: String?
    /// The files of authorities, and of certificate and key, for that.
    let controllerAuthority: String?
    let controllerIdentity: (certificate: String, key: String)?
    let staging: StagingSettings?
    /// The names that buildpacks know stacks by, where these are not the stacks' own.
    let compatibleStacks: [StackName: StackName]
    let drainTime: Duration
    let logLevel: Logger.Level

    init(_ source: SettingsSource) throws {
        listen = try source.value(.listen, Self.addresses)
        plainListen = try source.value(.plainListen, Self.addresses)
        guard !listen.isEmpty || !plainListen.isEmpty else {
            throw CommandError("there is no address to listen on: give --listen or --plain-listen")
        }
        let address = try source.value(.publicAddress) { Self.isPublicAddress($0) ? $0 : nil }
        publicAddress = address.isEmpty ? nil : address
        let certificate = source.text(.certificate)
        let key = source.text(.privateKey)
        guard certificate.isEmpty == key.isEmpty else {
            throw CommandError(
                "\(Setting.certificate.key) and \(Setting.privateKey.key) go together: give both or none")
        }
        tlsFiles = certificate.isEmpty ? nil : (certificate, key)
        let authority = source.text(.clientAuthority)
        clientAuthority = authority.isEmpty ? nil : authority
        offersHTTP2 = try source.value(.http2, Bool.init(_:))
        givesTokens = try source.value(.tokens) { ["on": true, "off": false][$0] }
        layout = DropletLayout(
            mode: try source.value(.layersMode, LayerMode.init(rawValue:)),
            compression: try source.value(.layersCompression, CompressionFormat.init(name:)),
            level: try source.value(.layersLevel, CompressionLevel.init(rawValue:)))
        guard layout.level == .fast || layout.compression == .gzip else {
            throw CommandError(
                "\(Setting.layersLevel.key) \(layout.level.rawValue) goes with \(Setting.layersCompression.key) gzip")
        }
        defaultStack = try source.value(.defaultStack) { try? StackName($0) }
        defaultArchitecture = try source.value(.defaultArchitecture) { try? Architecture($0) }
        maximumUpload = try source.value(.maximumDroplet) { Self.number($0, 1...(1 << 50)) }
        var limits = ConversionLimits()
        limits.inputBytes = maximumUpload
        limits.outputBytes = try source.value(.maximumUnpacked) { Self.number($0, 1...(1 << 50)) }
        limits.entries = Int(try source.value(.maximumEntries) { Self.number($0, 1...100_000_000) })
        self.limits = limits
        conversions = Int(try source.value(.conversions) { Self.number($0, 1...1024) })
        connectionsOfAddress = Int(try source.value(.connectionsOfAddress) { Self.number($0, 1...1_000_000) })
        let requests = Int(try source.value(.requestsOfAddress) { Self.number($0, 0...1_000_000) })
        requestsOfAddress = requests == 0 ? nil : requests
        let memory = try source.value(.memoryBytes) { $0 == "0" ? 0 : Self.number($0, (16 << 20)...(1 << 50)) }
        memoryBytes = memory == 0 ? MemoryLimit.standard : Int(memory)
        let bytes = try source.value(.storeBytes) { Self.number($0, 0...(1 << 60)) }
        storeBytes = bytes == 0 ? nil : bytes
        countInterval = .seconds(try source.value(.countInterval) { Self.number($0, 1...(366 * 86_400)) })
        redirects = try source.value(.redirects) { Bool($0) }
        let interval = try source.value(.collectionInterval) { Self.number($0, 0...(366 * 86_400)) }
        collectionInterval = interval == 0 ? nil : .seconds(interval)
        collectionGrace = try source.value(.collectionGrace) { Self.number($0, 1...(366 * 86_400)) } * 1_000_000_000
        func count(_ setting: Setting) throws -> Int? {
            let count = Int(try source.value(setting) { Self.number($0, 0...1_000_000) })
            return count == 0 ? nil : count
        }
        func lifetime(_ setting: Setting) throws -> Int64? {
            let seconds = try source.value(setting) { Self.number($0, 0...(36_600 * 86_400)) }
            return seconds == 0 ? nil : seconds * 1_000_000_000
        }
        let untagged = try source.value(.untaggedAge) { Self.number($0, 0...(36_600 * 86_400)) }
        retention = RetentionPolicy(
            droplets: try count(.keptDroplets), rootfs: try count(.keptRootfs),
            untagged: untagged == 0 ? nil : untagged * 1_000_000_000,
            packages: try lifetime(.unusedPackages), caches: try lifetime(.unusedCaches),
            reportAge: try source.value(.reportAge) { Self.number($0, 1...(366 * 86_400)) } * 1_000_000_000)
        stash = StashRules(
            sizes: try Self.sizes(source), lifetime: try lifetime(.unusedResources))
        let hasDeltas = try source.value(.rootfsDelta) { ["auto": true, "off": false][$0] }
        let policy = DeltaPolicy(
            maximumPercent: try source.value(.deltaShare) { Self.number($0, 0...100) },
            maximumLength: Int(try source.value(.deltaChain) { Self.number($0, 1...20) }))
        deltas = hasDeltas ? policy : nil
        signingKeys = try SigningKey.read(source.text(.provenanceKey))
        rootfsMustBeSigned = try source.value(.rootfsSignatures) { ["required": true, "optional": false][$0] }
        func path(_ setting: Setting) -> String? {
            let text = source.text(setting)
            return text.isEmpty ? nil : text
        }
        controllerURL = path(.controllerURL)
        controllerAuthority = path(.controllerAuthority)
        let identity = (path(.controllerCertificate), path(.controllerKey))
        guard (identity.0 == nil) == (identity.1 == nil) else {
            throw CommandError(
                "\(Setting.controllerCertificate.key) and \(Setting.controllerKey.key) go together: give both or none")
        }
        controllerIdentity = identity.0.flatMap { certificate in identity.1.map { (certificate, $0) } }
        _ = try Self.controller(controllerURL, controllerAuthority, controllerIdentity)
        staging = try StagingSettings(source)
        compatibleStacks = try source.value(.compatibleStacks, Self.stackNames)
        drainTime = .seconds(try source.value(.drainSeconds) { Self.number($0, 0...3600) })
        logLevel = try source.value(.logLevel, Logger.Level.init(rawValue:))
    }

    private static func addresses(_ text: String) -> [ListenAddress]? {
        let parts = text.split(separator: ",").map { $0.filter { $0 != " " } }
        let addresses = parts.compactMap { try? ListenAddress(parsing: $0) }
        return addresses.count == parts.count ? addresses : nil
    }

    /// Whether a text is empty, or the domain of an image reference as clients read it: a name without a dot and a port
    /// is the beginning of a repository of their default registry to them, unless it is `localhost`.
    private static func isPublicAddress(_ text: String) -> Bool {
        if text.isEmpty || text == "localhost" { return true }
        let pattern = /(?:(?<name>[A-Za-z0-9]+(?:[.-]+[A-Za-z0-9]+)*)|\[[0-9a-fA-F:.]+\])(?::(?<port>[0-9]{1,5}))?/
        guard text.utf8.count <= 255, let match = text.wholeMatch(of: pattern) else { return false }
        if let port = match.port { return (1...65535).contains(Int(port) ?? 0) }
        return match.name.map { $0.contains(".") } ?? true
    }

    /// The pairs of `STACK=NAME,…`; nil for other texts, and where a stack is there twice.
    private static func stackNames(_ text: String) -> [StackName: StackName]? {
        var names: [StackName: StackName] = [:]
        for pair in text.split(separator: ",") {
            let parts = pair.filter { $0 != " " }.split(separator: "=", omittingEmptySubsequences: false)
            guard parts.count == 2, let stack = try? StackName(parts[0]), let name = try? StackName(parts[1]),
                names.updateValue(name, forKey: stack) == nil
            else { return nil }
        }
        return names
    }

    static func number(_ text: String, _ range: ClosedRange<Int64>) -> Int64? {
        guard let number = Int64(text), range.contains(number) else { return nil }
        return number
    }
}

/// The settings in the form that each part of the server takes.
extension ServerSettings {
    /// - Parameter memory: what requests may hold; archives have a share of it.
    func bits(_ memory: Budget) -> BitsAPI.Settings {
        BitsAPI.Settings(
            maximumDroplet: maximumUpload, limits: limits(memory, [.archives]), layout: layout,
            defaultStack: defaultStack, defaultArchitecture: defaultArchitecture,
            publicURL: publicURL)
    }

    /// How clients call the server, if the settings say it.
    var publicURL: String? { publicAddress.map { "\(listen.isEmpty ? "http" : "https")://\($0)" } }

    /// - Parameter memory: what requests may hold; archives have a share of it.
    func bitsLimits(_ memory: Budget) -> BitsLimits {
        let limits = limits(memory, [.archives])
        var zip = ZipReader.Limits()
        zip.entries = limits.entries
        zip.bytes = limits.outputBytes
        return BitsLimits(bytes: maximumUpload, zip: zip, memory: limits.memory, stash: stash)
    }

    private static func sizes(_ source: SettingsSource) throws -> ClosedRange<Int64> {
        let least = try source.value(.stashMinimum) { Self.number($0, 0...(1 << 40)) }
        let most = try source.value(.stashMaximum) { Self.number($0, 0...(1 << 40)) }
        guard least <= most else {
            throw CommandError("\(Setting.stashMinimum.key) is larger than \(Setting.stashMaximum.key)")
        }
        return least...most
    }

    /// Who is told what came of uploads; nil: nobody.
    func controller() throws -> (any BitsListener)? {
        try Self.controller(controllerURL, controllerAuthority, controllerIdentity)
    }

    private static func controller(
        _ url: String?, _ authority: String?, _ identity: (certificate: String, key: String)?
    ) throws -> (any BitsListener)? {
        guard let url else { return nil }
        do { return ControllerListener(client: try .init(url: url, authority: authority, identity: identity)) } catch {
            throw CommandError("\(Setting.controllerURL.key) can't be used: \(error.description)")
        }
    }

    /// How many droplets are converted at the same time: no more than the memory for archives allows if all of them
    /// are large. Others wait.
    func conversions(_ memory: Budget) -> Int {
        let cost = 2 * ConversionLimits.leastMemory(layout.compression)
        return max(1, min(conversions, memory.bound(of: .archives) / cost))
    }

    private func limits(_ memory: Budget, _ shares: [Budget.Share]) -> ConversionLimits {
        var limits = limits
        limits.memory = ArchiveMemory(
            shares.map { share in
                ArchiveMemory.Source(take: { memory.take($0, of: share) }, give: { memory.give($0, of: share) })
            })
        return limits
    }

    /// - Parameters:
    ///   - trust: the directory of the trusted keys, read whenever a rootfs is imported.
    ///   - memory: what requests may hold; archives and operators have shares of it.
    func operators(trust: String, _ memory: Budget) -> OperatorAPI.Settings {
        OperatorAPI.Settings(
            maximumRootfs: maximumUpload, limits: limits(memory, [.archives, .operators]),
            compression: layout.compression,
            computesDeltas: deltas != nil, publicAddress: publicAddress, rootfsMustBeSigned: rootfsMustBeSigned,
            compatibleStacks: compatibleStacks, trusted: { TrustedKeys(directory: trust) })
    }

    var server: ServerLimits {
        var limits = ServerLimits()
        limits.drainTime = drainTime
        limits.connectionsOfAddress = connectionsOfAddress
        limits.requestsOfAddress = requestsOfAddress
        return limits
    }

    func listeners(_ tls: ServerTLS?) -> [Listener] {
        (tls.map { tls in listen.map { Listener(address: $0, security: .reloading(tls)) } } ?? [])
            + plainListen.map { Listener(address: $0, security: .plain) }
    }
}
