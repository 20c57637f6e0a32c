import BitsAPI
import Droplets
import HTTPServer
import Images
import Layers
import OperatorAPI
import Rootfs
import Signatures

/// What each part of the server is told of the settings.
extension ServerSettings {
    /// - Parameter memory: what requests may hold; archives have a share of it.
    func bits(_ memory: Budget) -> BitsAPI.Settings {
        BitsAPI.Settings(
            maximumDroplet: maximumUpload, limits: limits(memory, [.archives]), layout: layout,
            defaultStack: defaultStack, defaultArchitecture: defaultArchitecture)
    }

    /// Droplets that are converted at the same time: no more than can all be large at once. Others wait.
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
    ///   - memory: as above.
    func operators(trust: String, _ memory: Budget) -> OperatorAPI.Settings {
        OperatorAPI.Settings(
            maximumRootfs: maximumUpload, limits: limits(memory, [.archives, .operators]),
            compression: layout.compression,
            computesDeltas: deltas != nil, rootfsMustBeSigned: rootfsMustBeSigned,
            trusted: { TrustedKeys(directory: trust) })
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
