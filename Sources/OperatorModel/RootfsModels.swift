package import OCI

package enum StateName: String, Words {
    case available, deprecated, blocked
}

package enum KindName: String, Words {
    case run, build
}

/// A variant of a rootfs version.
package struct Version: Model {
    /// nil: apps run on it.
    package var kind: KindName?
    package let stack: String
    package let version: String
    package let architecture: ArchitectureName
    package let current: Bool
    package let state: StateName
    package let system: String
    package let source: Digest
    /// The size of the imported file, in bytes.
    package let size: Int64
    package let uncompressedSize: Int64
    package let created: Time
    package let shell: String
    package let imported: Time
    package let importedBy: String
    package let layers: [Layer]
    /// How many packages it has; only in the details of a version, and nil if an earlier version of Cistern imported
    /// it.
    package var packages: Int?
    package let sourceKind: String?
    package let sourceName: String?
    package let signedBy: String?
    /// The id of the operation that continues an import: it computes the delta, then promotes the version if requested.
    package var operation: String?

    package init(
        stack: String, version: String, architecture: ArchitectureName, current: Bool, state: StateName, system: String,
        source: Digest, size: Int64, uncompressedSize: Int64, created: Time, shell: String, imported: Time,
        importedBy: String, layers: [Layer], sourceKind: String?, sourceName: String?, signedBy: String?
    ) {
        (self.stack, self.version, self.architecture) = (stack, version, architecture)
        (self.current, self.state, self.system, self.source) = (current, state, system, source)
        (self.size, self.uncompressedSize, self.created, self.shell) = (size, uncompressedSize, created, shell)
        (self.imported, self.importedBy, self.layers) = (imported, importedBy, layers)
        (self.sourceKind, self.sourceName, self.signedBy) = (sourceKind, sourceName, signedBy)
    }
}

package struct Versions: Model {
    package let versions: [Version]
    package init(versions: [Version]) { self.versions = versions }
}

/// The details of a version.
package struct VersionDetails: Model {
    package let stack: String
    package let version: String
    package let current: Bool
    package let state: State
    package let promotions: [Promotion]
    /// How many droplets have images on it by default, because it is current.
    package let droplets: Int
    package let versions: [Version]

    package init(
        stack: String, version: String, current: Bool, state: State, promotions: [Promotion], droplets: Int,
        versions: [Version]
    ) {
        (self.stack, self.version, self.current, self.state) = (stack, version, current, state)
        (self.promotions, self.droplets, self.versions) = (promotions, droplets, versions)
    }
}

/// A version's state and who set it; `at` and `by` are nil if no state was ever set.
package struct State: Model {
    package let state: StateName
    package let reason: String
    @Nullable package var at: Time?
    @Nullable package var by: String?

    package init(state: StateName, reason: String, at: Time?, by: String?) {
        (self.state, self.reason, self.at, self.by) = (state, reason, at, by)
    }
}

package struct StateRequest: Model {
    package let state: StateName
    package let reason: String?
    package init(state: StateName, reason: String?) { (self.state, self.reason) = (state, reason) }
}

package struct Promotion: Model {
    package enum Kind: String, Words {
        case promote, rollback
    }

    package let kind: Kind
    package let version: String
    package let at: Time
    package let by: String
    package let reason: String

    package init(kind: Kind, version: String, at: Time, by: String, reason: String) {
        (self.kind, self.version, self.at, self.by, self.reason) = (kind, version, at, by, reason)
    }
}

/// The current version of a stack and the history of its promotions, the newest first.
package struct Current: Model {
    package let stack: String
    package let version: String
    package let state: StateName
    @Nullable package var since: Time?
    /// The version that a rollback leads to.
    @Nullable package var rollback: String?
    package let history: [Promotion]
    /// What buildpacks see the stack as (`CF_STACK`); missing where it is the stack's own name.
    package var compatible: String?
    /// How many droplets have images on it by default; missing in the answer to a change.
    package var droplets: Int?
    /// Warnings about a change; only in the answer to one.
    package var warnings: [String]?

    package init(
        stack: String, version: String, state: StateName, since: Time?, rollback: String?, history: [Promotion]
    ) {
        (self.stack, self.version, self.state, self.history) = (stack, version, state, history)
        (self.since, self.rollback) = (since, rollback)
    }
}

package struct PromotionRequest: Model {
    package let version: String
    @Inline package var change: ChangeRequest

    package init(version: String, change: ChangeRequest) {
        self.version = version
        self.change = change
    }
}

/// The members that requests for promotions and rollbacks have in common.
package struct ChangeRequest: Model {
    package let reason: String?
    /// The version that the client expects to be current; if another one is, the request is refused.
    package let expect: String?
    package init(reason: String?, expect: String?) { (self.reason, self.expect) = (reason, expect) }
}

/// The layer that turns one version into another.
package struct Delta: Model {
    package enum Times: String, Words {
        case compared, ignored
    }

    package let stack: String
    package let from: String
    package let version: String
    package let architecture: ArchitectureName
    package let layer: Layer
    package let uncompressedSize: Int64
    /// The sum of the new version's own layers, in bytes.
    package let rootfsSize: Int64
    /// The layer's size in percent of `rootfsSize`, such as `3.07`.
    package let sharePercent: String
    package let changed: Int64
    package let gone: Int64
    package let times: Times
    package let computed: Time
    package let computedBy: String

    package init(
        stack: String, from: String, version: String, architecture: ArchitectureName, layer: Layer,
        uncompressedSize: Int64, rootfsSize: Int64, sharePercent: String, changed: Int64, gone: Int64, times: Times,
        computed: Time, computedBy: String
    ) {
        (self.stack, self.from, self.version, self.architecture) = (stack, from, version, architecture)
        (self.layer, self.uncompressedSize, self.rootfsSize) = (layer, uncompressedSize, rootfsSize)
        (self.sharePercent, self.changed, self.gone, self.times) = (sharePercent, changed, gone, times)
        (self.computed, self.computedBy) = (computed, computedBy)
    }
}

package struct Deltas: Model {
    package let deltas: [Delta]
    package init(deltas: [Delta]) { self.deltas = deltas }
}

/// What nodes need before they run images on a version.
package struct Prepull: Model {
    package enum Form: String, Words {
        case full, delta
    }

    /// An image to pull ahead.
    package struct Pull: Model {
        package let reference: String
        package let version: String
        package let bytes: Int64
        /// Whether the pull helps nodes that run the previous version.
        package let helpsPrevious: Bool

        package init(reference: String, version: String, bytes: Int64, helpsPrevious: Bool) {
            (self.reference, self.version, self.bytes) = (reference, version, bytes)
            self.helpsPrevious = helpsPrevious
        }
    }

    /// The bytes that a node fetches besides droplets: with no layers, with the previous version's, and after the pull.
    package struct Bytes: Model {
        package let empty: Int64
        @Nullable package var previous: Int64?
        package let pulled: Int64

        package init(empty: Int64, previous: Int64?, pulled: Int64) {
            (self.empty, self.pulled) = (empty, pulled)
            self.previous = previous
        }
    }

    package let stack: String
    package let version: String
    package let architecture: ArchitectureName
    package let form: Form
    @Nullable package var previous: String?
    package let pull: [Pull]
    package let rootfs: [Layer]
    package let lifecycle: Layer
    package let delta: [Layer]
    package let bytes: Bytes

    package init(
        stack: String, version: String, architecture: ArchitectureName, form: Form, previous: String?, pull: [Pull],
        rootfs: [Layer], lifecycle: Layer, delta: [Layer], bytes: Bytes
    ) {
        (self.stack, self.version, self.architecture, self.form) = (stack, version, architecture, form)
        (self.pull, self.rootfs, self.lifecycle, self.delta, self.bytes) = (pull, rootfs, lifecycle, delta, bytes)
        self.previous = previous
    }
}

package struct Package: Model {
    package let name: String
    package let version: String
    package let architecture: String
    package let source: String
    package let sourceVersion: String?
    package let license: String?

    package init(
        name: String, version: String, architecture: String, source: String, sourceVersion: String?, license: String?
    ) {
        (self.name, self.version, self.architecture, self.source) = (name, version, architecture, source)
        (self.sourceVersion, self.license) = (sourceVersion, license)
    }
}

package struct Packages: Model {
    package struct Distribution: Model {
        package let id: String
        package let version: String
        package init(id: String, version: String) { (self.id, self.version) = (id, version) }
    }

    package let stack: String
    package let version: String
    package let architecture: ArchitectureName
    package let manager: String
    package let distribution: Distribution
    package let complete: Bool
    /// How many entries of the package database could not be read.
    package let skipped: Int
    package let packages: [Package]

    package init(
        stack: String, version: String, architecture: ArchitectureName, manager: String, distribution: Distribution,
        complete: Bool, skipped: Int, packages: [Package]
    ) {
        (self.stack, self.version, self.architecture, self.manager) = (stack, version, architecture, manager)
        (self.distribution, self.complete, self.skipped, self.packages) = (distribution, complete, skipped, packages)
    }
}

package struct PackageChange: Model {
    package let name: String
    package let architecture: String
    package let from: String
    package let to: String
    package let fromArchitecture: String

    package init(name: String, architecture: String, from: String, to: String, fromArchitecture: String) {
        (self.name, self.architecture, self.from, self.to) = (name, architecture, from, to)
        self.fromArchitecture = fromArchitecture
    }
}

/// How packages differ between two versions.
package struct PackageChanges: Model {
    package let stack: String
    package let from: String
    package let version: String
    package let architecture: ArchitectureName
    package let complete: Bool
    package let added: [Package]
    package let removed: [Package]
    package let upgraded: [PackageChange]
    package let downgraded: [PackageChange]
    package let changed: [PackageChange]
    package let unchanged: Int

    package init(
        stack: String, from: String, version: String, architecture: ArchitectureName, complete: Bool, added: [Package],
        removed: [Package], upgraded: [PackageChange], downgraded: [PackageChange], changed: [PackageChange],
        unchanged: Int
    ) {
        (self.stack, self.from, self.version, self.architecture) = (stack, from, version, architecture)
        (self.complete, self.added, self.removed, self.unchanged) = (complete, added, removed, unchanged)
        (self.upgraded, self.downgraded, self.changed) = (upgraded, downgraded, changed)
    }
}
