package import JSON
package import OCI
package import ObjectStore
import Records

/// A cluster that an operator added: `clusters/<name>/identity`.
///
/// Of its secrets only digests are kept. They are 256 random bits each, so that a plain digest gives nothing away.
package struct ClusterIdentity: JSONRecord, Hashable {
    package struct Secret: Hashable, Sendable {
        /// The SHA-256 of the secret's text.
        package let digest: Digest
        /// Nanoseconds since 1970.
        package let expires: Int64

        init(digest: Digest, expires: Int64) {
            self.digest = digest
            self.expires = expires
        }

        init?(json: JSONValue) {
            guard let digest = json["digest"]?.string.flatMap({ try? Digest(parsing: $0) }),
                let expires = json["expires"]?.integer
            else { return nil }
            self.init(digest: digest, expires: expires)
        }

        var json: JSONValue { ["digest": .string(digest.description), "expires": .integer(expires)] }
    }

    /// Nanoseconds since 1970.
    package let added: Int64
    package let addedBy: String
    package var labels: [String: String]
    /// What the agent exchanges once for a credential; nil if it has been, or nobody ever was to.
    package var enrolment: Secret?
    /// The agent's credential, and the one before it; empty until the agent has enrolled.
    package var credentials: [Secret] = []
    /// When the agent last enrolled, in nanoseconds since 1970; nil if it never did.
    package var enrolled: Int64?

    init(added: Int64, addedBy: String, labels: [String: String]) {
        self.added = added
        self.addedBy = addedBy
        self.labels = labels
    }

    package init?(_ json: JSONValue, at key: ObjectKey) {
        guard let added = json["added"]?.integer, let addedBy = json["addedBy"]?.string,
            let labels = json["labels"]?.object, let credentials = json["credentials"]?.elements(Secret.init(json:))
        else { return nil }
        self.init(added: added, addedBy: addedBy, labels: [:])
        for (name, value) in labels {
            guard let text = value.string else { return nil }
            self.labels[name] = text
        }
        self.credentials = credentials
        if let enrolment = json["enrolment"] {
            guard let secret = Secret(json: enrolment) else { return nil }
            self.enrolment = secret
        }
        if let enrolled = json["enrolled"] {
            guard let time = enrolled.integer else { return nil }
            self.enrolled = time
        }
    }

    package var json: JSONValue {
        var json: JSONObject = [
            "added": .integer(added), "addedBy": .string(addedBy),
            "labels": .object(JSONObject(labels.mapValues { .string($0) })),
            "credentials": .array(credentials.map(\.json)),
        ]
        json["enrolment"] = enrolment?.json
        json["enrolled"] = enrolled.map { .integer($0) }
        return .object(json)
    }
}

/// What a cluster's agent last said of itself: `clusters/<name>/state`.
package struct ClusterState: JSONRecord, Hashable {
    /// The longest of its texts, in bytes.
    package static let maximumText = 1000
    package static let maximumProblems = 20

    /// When it was said, in nanoseconds since 1970 by this server's clock.
    package let at: Int64
    /// The agent's version.
    package let agent: String
    /// The API server's version.
    package let kubernetes: String
    /// What is wrong, a sentence each; empty if nothing is.
    package let problems: [String]
    /// How many pods run one of this registry's images by a tag, without having been pinned.
    package let unpinned: Int64

    package init(at: Int64, agent: String, kubernetes: String, problems: [String], unpinned: Int64) {
        self.at = at
        self.agent = agent
        self.kubernetes = kubernetes
        self.problems = problems
        self.unpinned = unpinned
    }

    package init?(_ json: JSONValue, at key: ObjectKey) {
        guard let at = json["at"]?.integer, let agent = json["agent"]?.string,
            let kubernetes = json["kubernetes"]?.string, let problems = json["problems"]?.elements(\.string),
            let unpinned = json["unpinned"]?.integer
        else { return nil }
        self.init(at: at, agent: agent, kubernetes: kubernetes, problems: problems, unpinned: unpinned)
    }

    package var json: JSONValue {
        [
            "at": .integer(at), "agent": .string(agent), "kubernetes": .string(kubernetes),
            "problems": .array(problems.map { .string($0) }), "unpinned": .integer(unpinned),
        ]
    }
}
