import Blobs
import Droplets
import Images
import Layers
package import OperatorModel
import Packages
package import Registry
import Rootfs
import Runtime

// How what the domain knows is told: a model for each kind of value.

extension Timestamp {
    var model: Time { Time(rfc3339) }
}

extension Architecture {
    var model: ArchitectureName {
        switch self {
        case .amd64: .amd64
        case .arm64: .arm64
        }
    }
}

extension LayerReference {
    var model: Layer { Layer(digest: digest, size: size, diffID: diffID) }
}

extension VersionState.Availability {
    var model: StateName {
        switch self {
        case .available: .available
        case .deprecated: .deprecated
        case .blocked: .blocked
        }
    }

    init(_ name: StateName) {
        switch name {
        case .available: self = .available
        case .deprecated: self = .deprecated
        case .blocked: self = .blocked
        }
    }
}

extension RootfsVersion {
    func model(isCurrent: Bool, _ availability: VersionState.Availability) -> Version {
        Version(
            stack: stack.text, version: version.text, architecture: architecture.model, current: isCurrent,
            state: availability.model, system: system, source: source, size: sourceSize,
            uncompressedSize: uncompressedSize, created: created.model, shell: shell, imported: imported.model,
            importedBy: importedBy, layers: layers.map(\.model), sourceKind: origin.kind?.rawValue,
            sourceName: origin.name, signedBy: origin.signedBy)
    }
}

extension PromotionHistory.Promotion {
    var model: Promotion {
        Promotion(
            kind: kind == .promote ? .promote : .rollback, version: version.text, at: at.model, by: by, reason: reason)
    }
}

extension RootfsDelta {
    var model: Delta {
        Delta(
            stack: stack.text, from: from.text, version: to.text, architecture: architecture.model, layer: layer.model,
            uncompressedSize: uncompressedSize, rootfsSize: rootfsSize, sharePercent: percent, changed: Int64(changed),
            gone: Int64(gone), times: times == .compared ? .compared : .ignored, computed: computed.model,
            computedBy: computedBy)
    }

    /// As in `3.07`.
    private var percent: String {
        let hundredths = String(share % 100)
        return "\(share / 100).\(hundredths.count < 2 ? "0" : "")\(hundredths)"
    }
}

extension Images.Prepull {
    /// - Parameter repository: of the base images, with the host that clients ask for.
    func model(_ stack: StackName, repository: String) -> OperatorModel.Prepull {
        let pull = base.map { base in
            OperatorModel.Prepull.Pull(
                reference: "\(repository)@\(base.image.manifestDigest)", version: base.version.text,
                bytes: rootfs.totalSize, helpsPrevious: helpsPrevious)
        }
        return OperatorModel.Prepull(
            stack: stack.text, version: version.text, architecture: architecture.model,
            form: delta.isEmpty ? .full : .delta, previous: previous?.text, pull: pull.map { [$0] } ?? [],
            rootfs: rootfs.map(\.model), lifecycle: lifecycle.model, delta: delta.map(\.model),
            bytes: .init(empty: emptyBytes, previous: previousBytes, pulled: pulledBytes))
    }
}

extension InstalledPackage {
    /// What is empty is left out.
    var model: Package {
        Package(
            name: name, version: version, architecture: architecture, source: source,
            sourceVersion: sourceVersion.isEmpty ? nil : sourceVersion, license: license.isEmpty ? nil : license)
    }
}

extension PackageDiff.Change {
    var model: PackageChange {
        PackageChange(
            name: to.name, architecture: to.architecture, from: from.version, to: to.version,
            fromArchitecture: from.architecture)
    }
}

extension DropletRecord {
    var model: Droplet {
        Droplet(
            guid: guid.text, hash: hash, sha1: sha1, size: size, stack: stack.text, architecture: architecture.model,
            mode: mode == .single ? .single : .split, uploaded: uploaded.model, uploadedBy: uploadedBy,
            layers: content.layers.map(\.model))
    }
}

extension ClusterPins {
    var model: Cluster {
        Cluster(
            cluster: cluster.text, complete: isComplete, digests: digests.count,
            reported: Timestamp(nanoseconds: reported).model)
    }
}

extension CollectionReport {
    var model: GarbageCollection {
        GarbageCollection(
            blobs: blobs, damaged: damaged, leased: leased, marked: marked, repositories: repositories,
            repositoriesRead: repositoriesRead, retired: retired, retiredBytes: retiredBytes,
            retention: .init(
                droplets: retention.droplets, manifests: retention.manifests,
                rootfsVersions: retention.rootfsVersions, withheld: retention.withheld), spared: spared)
    }
}

extension VerificationReport {
    package var model: Verification {
        Verification(
            blobs: blobs, bytes: bytes, damagedBlobs: damagedCount,
            damaged: damages.map { .init(digest: $0.digest, reason: $0.reason, users: $0.users) }, dangling: dangling,
            orphanBytes: orphanBytes, orphans: orphans, repaired: isRepaired, repositories: repositories,
            unlinked: unlinked, unreadable: unreadable,
            unreadableRecords: unreadableRecords.map {
                .init(key: $0.key, kind: $0.kind, reason: $0.reason, outcome: $0.outcome.rawValue)
            }, unlisted: unlisted)
    }
}

extension QuotaUsage {
    var model: Usage {
        Usage(
            counting: isCounting, store: store.model,
            quotas: quotas.map { .init(repositories: $0.repositories, limit: $0.total.model) },
            counted: count.map { count in
                .init(
                    at: Timestamp(nanoseconds: count.ended).model, repositories: count.repositories,
                    logicalBytes: count.logicalBytes, storeBytes: count.storeBytes,
                    largest: count.largest.map { .init(repository: $0.repository, bytes: $0.bytes) })
            })
    }
}

extension QuotaUsage.Total {
    fileprivate var model: Limit { Limit(limit: limit, used: used, reserved: reserved, denied: Int64(denied)) }
}
