import Blobs
import Clusters
import Droplets
import Images
import Layers
import Maintenance
import OperatorModel
import Packages
import Rootfs
import Runtime

// The API's models of the domain's values.

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

extension RootfsVersion {
    /// The model of what builds run in.
    var buildModel: Version {
        var model = model(isCurrent: false, .available)
        model.kind = .build
        return model
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

    /// The share in percent, such as `3.07`.
    private var percent: String {
        let hundredths = String(share % 100)
        return "\(share / 100).\(hundredths.count < 2 ? "0" : "")\(hundredths)"
    }
}

extension PrepullPlan {
    /// - Parameter repository: the repository of the base images, with the host that the client used.
    func model(_ stack: StackName, repository: String) -> Prepull {
        let pull = base.map { base in
            Prepull.Pull(
                reference: "\(repository)@\(base.image.manifestDigest)", version: base.version.text,
                bytes: rootfs.totalSize, helpsPrevious: helpsPrevious)
        }
        return Prepull(
            stack: stack.text, version: version.text, architecture: architecture.model,
            form: delta.isEmpty ? .full : .delta, previous: previous?.text, pull: pull.map { [$0] } ?? [],
            rootfs: rootfs.map(\.model), lifecycle: lifecycle.model, delta: delta.map(\.model),
            bytes: .init(empty: emptyBytes, previous: previousBytes, pulled: pulledBytes))
    }
}

extension InstalledPackage {
    /// Empty members are left out.
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
            layers: content.layers.map(\.model),
            buildpacks: content.staged.map {
                DropletBuildpack(
                    name: $0.name, version: $0.version.isEmpty ? nil : $0.version, source: $0.source?.text)
            },
            buildpacksByDroplet: content.buildpacks.map {
                DropletBuildpack(name: $0.name, version: $0.version.isEmpty ? nil : $0.version, source: nil)
            }, org: owner.org, space: owner.space)
    }
}

extension ClusterPins {
    var model: Cluster {
        Cluster(
            cluster: cluster.text, complete: isComplete, digests: digests.count, tags: tags.count,
            reported: Timestamp(nanoseconds: reported).model)
    }
}
