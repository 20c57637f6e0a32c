import Droplets
import Rootfs
import BitsAPI
import HTTPServer
import Images
import OperatorAPI
import Signatures

/// What each part of the server is told of the settings.
extension ServerSettings {
    var bits: BitsAPI.Settings {
        BitsAPI.Settings(
            maximumDroplet: maximumUpload, limits: limits, layout: layout, defaultStack: defaultStack,
            defaultArchitecture: defaultArchitecture)
    }

    /// - Parameter trust: the directory of the trusted keys, read whenever a rootfs is imported.
    func operators(trust: String) -> OperatorAPI.Settings {
        OperatorAPI.Settings(
            maximumRootfs: maximumUpload, limits: limits, compression: layout.compression,
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
