package import OCI

/// A buildpack that made a droplet, as its uploader or the droplet says.
package struct DropletBuildpack: Model {
    package let name: String
    /// Missing if it was not said.
    package let version: String?
    /// `sha256:<hex>` of an archive or `git:<commit>`; missing if it was not said. The droplet itself says none.
    package let source: String?

    package init(name: String, version: String?, source: String?) {
        (self.name, self.version, self.source) = (name, version, source)
    }
}

package struct Droplet: Model {
    package enum Mode: String, Words {
        case single, split
    }

    package let guid: String
    /// SHA-256, in hexadecimal digits.
    package let hash: String
    package let sha1: String
    package let size: Int64
    package let stack: String
    package let architecture: ArchitectureName
    package let mode: Mode
    package let uploaded: Time
    package let uploadedBy: String
    package let layers: [Layer]
    /// As the first upload said.
    package let buildpacks: [DropletBuildpack]
    /// As the droplet itself says, which nothing proves.
    package let buildpacksByDroplet: [DropletBuildpack]
    /// The organization's name or guid; missing if the first upload did not say it.
    package let org: String?
    /// Likewise the space's.
    package let space: String?

    package init(
        guid: String, hash: String, sha1: String, size: Int64, stack: String, architecture: ArchitectureName,
        mode: Mode, uploaded: Time, uploadedBy: String, layers: [Layer], buildpacks: [DropletBuildpack],
        buildpacksByDroplet: [DropletBuildpack], org: String?, space: String?
    ) {
        (self.buildpacks, self.buildpacksByDroplet) = (buildpacks, buildpacksByDroplet)
        (self.org, self.space) = (org, space)
        (self.guid, self.hash, self.sha1, self.size) = (guid, hash, sha1, size)
        (self.stack, self.architecture, self.mode) = (stack, architecture, mode)
        (self.uploaded, self.uploadedBy, self.layers) = (uploaded, uploadedBy, layers)
    }
}

/// A page of droplets.
package struct Droplets: Model {
    package let droplets: [Droplet]
    /// The value of `after` for the next page; missing on the last page.
    package let next: String?
    package init(droplets: [Droplet], next: String? = nil) { (self.droplets, self.next) = (droplets, next) }
}

/// A droplet and its image on the current rootfs.
package struct DropletImage: Model {
    @Inline package var droplet: Droplet
    /// The reference that pods use.
    package let image: String
    /// nil before a rootfs of its stack is promoted.
    @Nullable package var rootfs: String?
    @Nullable package var digest: Digest?

    package init(droplet: Droplet, image: String, rootfs: String?, digest: Digest?) {
        self.droplet = droplet
        self.image = image
        self.rootfs = rootfs
        self.digest = digest
    }
}

/// What a garbage collection did so far, or would do.
package struct GarbageCollection: Model {
    /// What retention removed before.
    package struct Retention: Model {
        package let droplets: Int
        package let manifests: Int
        package let rootfsVersions: Int
        /// Packages, build caches and files of the stash; missing in reports of earlier versions.
        package var bits: Int?
        /// Why droplets and rootfs versions were not considered; nil if they were.
        @Nullable package var withheld: String?

        package init(droplets: Int, manifests: Int, rootfsVersions: Int, bits: Int? = nil, withheld: String?) {
            self.bits = bits
            (self.droplets, self.manifests, self.rootfsVersions) = (droplets, manifests, rootfsVersions)
            self.withheld = withheld
        }
    }

    package let blobs: Int
    package let damaged: Int
    package let leased: Int
    package let marked: Int
    package let repositories: Int
    package let repositoriesRead: Int
    package let retired: Int
    package let retiredBytes: Int64
    package let retention: Retention
    /// How many blobs stay only because a record that can't be read may refer to them.
    package let spared: Int

    package init(
        blobs: Int, damaged: Int, leased: Int, marked: Int, repositories: Int, repositoriesRead: Int, retired: Int,
        retiredBytes: Int64, retention: Retention, spared: Int
    ) {
        self.spared = spared
        (self.blobs, self.damaged, self.leased, self.marked) = (blobs, damaged, leased, marked)
        (self.repositories, self.repositoriesRead) = (repositories, repositoriesRead)
        (self.retired, self.retiredBytes, self.retention) = (retired, retiredBytes, retention)
    }
}

package struct CollectionStatus: Model {
    @Nullable package var running: GarbageCollection?
    /// The last one that finished, except dry runs.
    @Nullable package var last: GarbageCollection?
    @Nullable package var lastEnded: Time?

    package init(running: GarbageCollection?, last: GarbageCollection?, lastEnded: Time?) {
        (self.running, self.last, self.lastEnded) = (running, last, lastEnded)
    }
}

/// What a verification found so far.
package struct Verification: Model {
    package struct Damage: Model {
        package let digest: Digest
        package let reason: String
        package let users: [String]

        package init(digest: Digest, reason: String, users: [String]) {
            (self.digest, self.reason, self.users) = (digest, reason, users)
        }
    }

    /// A record that can't be read.
    package struct Unreadable: Model {
        package let key: String
        /// The kind of record.
        package let kind: String
        package let reason: String
        /// `kept`, `mended` or `set aside`.
        package let outcome: String

        package init(key: String, kind: String, reason: String, outcome: String) {
            (self.key, self.kind, self.reason, self.outcome) = (key, kind, reason, outcome)
        }
    }

    package let blobs: Int
    package let bytes: Int64
    package let damagedBlobs: Int
    /// The first 1000 of them.
    package let damaged: [Damage]
    /// Tags and referrers that point to a manifest which does not exist.
    package let dangling: Int
    package let orphanBytes: Int64
    /// How many objects with bytes no record names.
    package let orphans: Int
    package let repaired: Bool
    package let repositories: Int
    /// Manifests that are not listed among the referrers of their subject.
    package let unlinked: Int
    /// How many records can't be read, or could not be read before a repair.
    package let unreadable: Int
    /// The first 1000 of them.
    package let unreadableRecords: [Unreadable]
    /// Repositories that the catalog does not list.
    package let unlisted: Int

    package init(
        blobs: Int, bytes: Int64, damagedBlobs: Int, damaged: [Damage], dangling: Int, orphanBytes: Int64,
        orphans: Int, repaired: Bool, repositories: Int, unlinked: Int, unreadable: Int,
        unreadableRecords: [Unreadable], unlisted: Int
    ) {
        self.unreadableRecords = unreadableRecords
        (self.blobs, self.bytes, self.damagedBlobs, self.damaged) = (blobs, bytes, damagedBlobs, damaged)
        (self.dangling, self.orphanBytes, self.orphans, self.repaired) = (dangling, orphanBytes, orphans, repaired)
        (self.repositories, self.unlinked) = (repositories, unlinked)
        (self.unreadable, self.unlisted) = (unreadable, unlisted)
    }
}

package struct VerificationStatus: Model {
    @Nullable package var running: Verification?
    @Nullable package var last: Verification?
    @Nullable package var lastEnded: Time?
    /// Why the last one did not finish; nil if it did.
    @Nullable package var failure: String?

    package init(running: Verification?, last: Verification?, lastEnded: Time?, failure: String?) {
        (self.running, self.last, self.lastEnded, self.failure) = (running, last, lastEnded, failure)
    }
}

package struct Limit: Model {
    @Nullable package var limit: Int64?
    @Nullable package var used: Int64?
    /// Held for writes under way, in bytes.
    package let reserved: Int64
    /// How many requests were refused because of the limit.
    package let denied: Int64

    package init(limit: Int64?, used: Int64?, reserved: Int64, denied: Int64) {
        (self.reserved, self.denied) = (reserved, denied)
        (self.limit, self.used) = (limit, used)
    }
}

/// How much of the limits is used.
package struct Usage: Model {
    package struct Quota: Model {
        package let repositories: String
        @Inline package var limit: Limit

        package init(repositories: String, limit: Limit) {
            self.repositories = repositories
            self.limit = limit
        }
    }

    package struct Count: Model {
        package let at: Time
        package let repositories: Int
        package let logicalBytes: Int64
        package let storeBytes: Int64
        package let largest: [Holder]

        package init(at: Time, repositories: Int, logicalBytes: Int64, storeBytes: Int64, largest: [Holder]) {
            (self.at, self.repositories, self.largest) = (at, repositories, largest)
            (self.logicalBytes, self.storeBytes) = (logicalBytes, storeBytes)
        }
    }

    package struct Holder: Model {
        package let repository: String
        package let bytes: Int64
        package init(repository: String, bytes: Int64) { (self.repository, self.bytes) = (repository, bytes) }
    }

    package let counting: Bool
    package let store: Limit
    package let quotas: [Quota]
    /// nil before the first count.
    @Nullable package var counted: Count?

    package init(counting: Bool, store: Limit, quotas: [Quota], counted: Count?) {
        (self.counting, self.store, self.quotas) = (counting, store, quotas)
        self.counted = counted
    }
}

/// The state of everything at a glance.
package struct Overview: Model {
    package struct Stack: Model {
        package let stack: String
        @Nullable package var current: String?
        @Nullable package var since: Time?
        @Nullable package var by: String?
        @Nullable package var reason: String?
        @Nullable package var rollback: String?
        /// The number of droplets by architecture.
        package let droplets: [String: Int]
        package let versions: [Version]

        package init(
            stack: String, current: String?, since: Time?, by: String?, reason: String?, rollback: String?,
            droplets: [String: Int], versions: [Version]
        ) {
            (self.stack, self.droplets, self.versions) = (stack, droplets, versions)
            (self.current, self.since, self.by) = (current, since, by)
            (self.reason, self.rollback) = (reason, rollback)
        }
    }

    package struct Version: Model {
        package let version: String
        package let current: Bool
        package let state: StateName
        package let reason: String
        package let system: String
        package let architectures: [String]
        @Nullable package var imported: Time?

        package init(
            version: String, current: Bool, state: StateName, reason: String, system: String, architectures: [String],
            imported: Time?
        ) {
            (self.version, self.current, self.state, self.reason) = (version, current, state, reason)
            (self.system, self.architectures) = (system, architectures)
            self.imported = imported
        }
    }

    /// A record that can't be read.
    package struct Unreadable: Model {
        package let key: String
        package let reason: String

        package init(key: String, reason: String) { (self.key, self.reason) = (key, reason) }
    }

    package let stacks: [Stack]
    package let droplets: Int
    package let clusters: [Cluster]
    package let collection: CollectionStatus
    package let verification: VerificationStatus
    package let usage: Usage
    /// Records that can't be read, as far as the server met them since its start; at most 1000.
    package let unreadable: [Unreadable]

    package init(
        stacks: [Stack], droplets: Int, clusters: [Cluster], collection: CollectionStatus,
        verification: VerificationStatus, usage: Usage, unreadable: [Unreadable]
    ) {
        self.unreadable = unreadable
        (self.stacks, self.droplets, self.clusters) = (stacks, droplets, clusters)
        (self.collection, self.verification, self.usage) = (collection, verification, usage)
    }
}
