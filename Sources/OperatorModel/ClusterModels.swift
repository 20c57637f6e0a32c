package import OCI

/// A cluster that reports what runs there.
package struct Cluster: Model {
    package let cluster: String
    /// Whether all parts of its report are there and readable.
    package let complete: Bool
    package let digests: Int
    /// How many templates name an image by a tag; missing if none does.
    package let tags: Int?
    package let reported: Time

    package init(cluster: String, complete: Bool, digests: Int, tags: Int, reported: Time) {
        (self.cluster, self.complete, self.digests, self.reported) = (cluster, complete, digests, reported)
        self.tags = tags > 0 ? tags : nil
    }
}

package struct Clusters: Model {
    package let clusters: [Cluster]
    package init(clusters: [Cluster]) { self.clusters = clusters }
}

/// A cluster's report of what runs there or could start again, or part `shard` of `shards`.
package struct ClusterReport: Model {
    /// Of manifests, or of the configs by which some runtimes call an image.
    package let digests: [Digest]
    /// `<droplet guid>:<tag>`, of what would start by a tag.
    package let tags: [String]?
    package let shard: Int?
    package let shards: Int?

    package init(digests: [Digest], tags: [String], shard: Int, shards: Int) {
        (self.digests, self.tags, self.shard, self.shards) = (digests, tags, shard, shards)
    }
}

/// A cluster that an operator added.
package struct ClusterInfo: Model {
    package enum Health: String, Words {
        /// Its agent has not enrolled yet.
        case waiting
        case healthy
        /// Its agent says that something is wrong.
        case troubled
        /// It has not reported for too long, not everything, or nothing yet: nothing is retired meanwhile.
        case silent
        /// Its agent's credential has expired: it has to enrol again.
        case expired
    }

    /// What its agent last said of itself.
    package struct State: Model {
        package let at: Time
        package let agent: String
        package let kubernetes: String
        package let problems: [String]
        /// How many pods run an image by a tag, without having been pinned.
        package let unpinned: Int64

        package init(at: Time, agent: String, kubernetes: String, problems: [String], unpinned: Int64) {
            (self.at, self.agent, self.kubernetes) = (at, agent, kubernetes)
            (self.problems, self.unpinned) = (problems, unpinned)
        }
    }

    package let cluster: String
    package let health: Health
    package let labels: [String: String]
    package let added: Time
    package let addedBy: String
    @Nullable package var enrolled: Time?
    /// When its agent's credential expires; agents renew theirs each day.
    @Nullable package var expires: Time?
    @Nullable package var state: State?
    @Nullable package var report: Cluster?

    package init(
        cluster: String, health: Health, labels: [String: String], added: Time, addedBy: String, enrolled: Time?,
        expires: Time?, state: State?, report: Cluster?
    ) {
        (self.cluster, self.health, self.labels) = (cluster, health, labels)
        (self.added, self.addedBy) = (added, addedBy)
        (self.enrolled, self.expires, self.state, self.report) = (enrolled, expires, state, report)
    }
}

package struct ClusterInfos: Model {
    package let clusters: [ClusterInfo]
    package init(clusters: [ClusterInfo]) { self.clusters = clusters }
}

/// What to add a cluster with.
package struct NewCluster: Model {
    /// Names and values are `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`. Without them, a cluster that is known keeps its own.
    package let labels: [String: String]?

    package init(labels: [String: String]?) { self.labels = labels }
}

/// What a cluster's agent enrols with, once.
package struct ClusterEnrolment: Model {
    package let cluster: String
    package let secret: String
    package let expires: Time

    package init(cluster: String, secret: String, expires: Time) {
        (self.cluster, self.secret, self.expires) = (cluster, secret, expires)
    }
}

/// A credential that an agent made up, for the registry to take in exchange for what the agent came with.
package struct NewClusterCredential: Model {
    /// 32 random bytes in base64url, 43 letters; up to 128 are taken.
    package let credential: String

    package init(credential: String) { self.credential = credential }
}

package struct ClusterCredential: Model {
    package let cluster: String
    package let expires: Time

    package init(cluster: String, expires: Time) { (self.cluster, self.expires) = (cluster, expires) }
}

/// What an agent says of itself.
package struct NewClusterState: Model {
    package let agent: String
    package let kubernetes: String
    package let problems: [String]
    package let unpinned: Int64

    package init(agent: String, kubernetes: String, problems: [String], unpinned: Int64) {
        (self.agent, self.kubernetes, self.problems, self.unpinned) = (agent, kubernetes, problems, unpinned)
    }
}
