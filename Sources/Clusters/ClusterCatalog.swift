import JSON
import OCI
package import ObjectStore
package import Records
package import Rootfs
package import Runtime

/// A cluster as the registry knows it.
package struct KnownCluster: Sendable {
    package let name: ClusterName
    package let identity: ClusterIdentity
    /// What its agent last said; nil if it has said nothing yet, or it can't be read.
    package let state: ClusterState?
}

/// What a secret that a client sent for a cluster is good for.
package enum ClusterSecretUse: Hashable, Sendable {
    /// To be exchanged for a credential, once.
    case enrolment
    /// Everything that a cluster's agent does.
    case agent
}

/// The clusters that call home: who they are, and what their agents say of themselves. What runs there is kept by
/// `RunningImages`.
///
/// An operator adds a cluster and gets a secret, which the agent there exchanges once for a credential. The agent makes
/// the credential up itself, keeps it, and only then sends it: an answer that was lost costs nothing, since it can try
/// whether the new one is already good.
package struct ClusterCatalog: Sendable {
    /// For how long an enrolment secret is good, in nanoseconds.
    package static let enrolmentLifetime: Int64 = 24 * 3600 * 1_000_000_000
    /// For how long a credential is good, in nanoseconds: agents renew theirs each day, so that one which was away for
    /// some days comes back by itself.
    package static let credentialLifetime: Int64 = 7 * 24 * 3600 * 1_000_000_000
    package static let maximumLabels = 32
    /// How long the text of a secret is, in letters and digits.
    package static let secretLength = 43...128
    /// The most clusters that there may be.
    package static let maximumClusters = 1000

    private let records: RecordStore<ImageError>
    private let pins: RunningImages
    private let events: Events?
    private let now: @Sendable () -> Int64

    /// - Parameters:
    ///   - unreadable: collects the records that can't be read.
    ///   - events: gets what becomes of clusters.
    ///   - now: nanoseconds since 1970.
    package init(
        store: any ObjectStore, pins: RunningImages, unreadable: UnreadableRecords = UnreadableRecords(),
        events: Events? = nil, now: @escaping @Sendable () -> Int64
    ) {
        records = RecordStore(store, unreadable: unreadable)
        self.pins = pins
        self.events = events
        self.now = now
    }

    /// Its records, for verification.
    package static let folder = RecordFolder(
        "clusters/",
        [
            RecordKind("cluster", ClusterIdentity.self) { $0.text.hasSuffix("/identity") },
            RecordKind("state of a cluster", ClusterState.self) { $0.text.hasSuffix("/state") },
        ])

    // MARK: - For operators

    /// Adds a cluster, or lets a known one enrol again; its agent's credential stays good until then.
    /// - Parameter labels: replace those that the cluster had; nil keeps them.
    /// - Returns: the secret with which the agent enrols, and when it expires, in nanoseconds since 1970. The secret is
    ///   not stored and can't be told again.
    /// - Throws: `.unsuitableReport` for too many or too long labels, or more than `maximumClusters`.
    package func add(
        _ name: ClusterName, labels: [String: String]?, by user: String
    ) async throws(ImageError) -> (secret: String, expires: Int64) {
        try check(labels ?? [:])
        let secret = Self.makeSecret()
        let expires = now() + Self.enrolmentLifetime
        if try await !records.isThere(try identityKey(name)),
            try await names().count >= Self.maximumClusters
        {
            throw .unsuitableReport("there are \(Self.maximumClusters) clusters: forget one that is no more")
        }
        try await records.update(try identityKey(name), as: ClusterIdentity.self, replacingDamaged: true) {
            (old) throws(ImageError) in
            var identity = old?.value ?? ClusterIdentity(added: now(), addedBy: user, labels: [:])
            if let labels { identity.labels = labels }
            identity.enrolment = ClusterIdentity.Secret(digest: Self.digest(secret), expires: expires)
            return .write(identity)
        }
        try await records.sync()
        tell("cluster.added", name)
        return (secret, expires)
    }

    /// All clusters that were added, by name. One whose record can't be read is left out, and reported as unreadable.
    package func all() async throws(ImageError) -> [KnownCluster] {
        var clusters: [KnownCluster] = []
        for name in try await names() {
            guard case .stored(let identity) = try await records.find(try identityKey(name), as: ClusterIdentity.self)
            else { continue }
            clusters.append(KnownCluster(name: name, identity: identity.value, state: try await state(name)))
        }
        return clusters
    }

    /// - Returns: nil if no such cluster was added.
    /// - Throws: `.damaged`.
    package func find(_ name: ClusterName) async throws(ImageError) -> KnownCluster? {
        guard let identity = try await records.read(try identityKey(name), as: ClusterIdentity.self) else { return nil }
        return KnownCluster(name: name, identity: identity.value, state: try await state(name))
    }

    /// The names of all clusters whose agents enrolled and whose reports are therefore waited for. One whose record
    /// can't be read is among them.
    package func reporting() async throws(ImageError) -> [ClusterName] {
        var found: [ClusterName] = []
        for name in try await names() {
            switch try await records.find(try identityKey(name), as: ClusterIdentity.self) {
            case .missing: break
            case .stored(let identity): if identity.value.enrolled != nil { found.append(name) }
            case .unreadable: found.append(name)
            }
        }
        return found
    }

    /// Forgets a cluster that is no more: its credential is not good any longer, and what ran there may be retired.
    /// - Returns: whether it was known, or had sent a report.
    @discardableResult
    package func forget(_ name: ClusterName) async throws(ImageError) -> Bool {
        let known = try await records.isThere(try identityKey(name))
        // The identity goes first, so that the agent can't report once more in between.
        try await records.remove(try identityKey(name))
        try await records.remove(try key(name, "state"))
        try await records.sync()
        guard try await pins.forget(name) || known else { return false }
        tell("cluster.forgotten", name)
        return true
    }

    // MARK: - For agents

    /// What a secret is good for; nil for nothing.
    /// - Throws: `.damaged` if the cluster's record can't be read.
    package func use(of secret: String, for name: ClusterName) async throws(ImageError) -> ClusterSecretUse? {
        guard Self.isSecret(secret),
            let identity = try await records.read(try identityKey(name), as: ClusterIdentity.self)?.value
        else { return nil }
        return use(of: Self.digest(secret), in: identity)
    }

    private func use(of digest: Digest, in identity: ClusterIdentity) -> ClusterSecretUse? {
        func isGood(_ secret: ClusterIdentity.Secret) -> Bool { secret.digest == digest && now() < secret.expires }
        if identity.credentials.contains(where: isGood) { return .agent }
        return identity.enrolment.map(isGood) ?? false ? .enrolment : nil
    }

    /// Makes a new credential good, in exchange for the enrolment secret or for the credential before it, which stays
    /// good until it expires or the next exchange.
    ///
    /// Sending the same credential again changes nothing.
    /// - Parameters:
    ///   - secret: what the agent came with.
    ///   - credential: what it made up: `secretLength` letters and digits of base64url.
    /// - Returns: when the new credential expires, in nanoseconds since 1970; nil if the secret is not good (any more).
    /// - Throws: `.unsuitableReport` for a credential that is too short or too long.
    package func exchange(
        _ secret: String, for credential: String, of name: ClusterName
    ) async throws(ImageError) -> Int64? {
        guard Self.isSecret(credential), credential != secret else {
            throw .unsuitableReport(
                "a credential is 43 to 128 letters, digits, '-' and '_' that were not used before: 32 random bytes in "
                    + "base64url")
        }
        let (old, new) = (Self.digest(secret), Self.digest(credential))
        var expires: Int64?
        var hasEnrolled = false
        try await records.update(try identityKey(name), as: ClusterIdentity.self) { (stored) throws(ImageError) in
            expires = nil
            hasEnrolled = false
            guard var identity = stored?.value, let use = use(of: old, in: identity) else { return .keep }
            if let there = identity.credentials.first(where: { $0.digest == new }) {
                expires = there.expires
                return .keep
            }
            let made = ClusterIdentity.Secret(digest: new, expires: now() + Self.credentialLifetime)
            switch use {
            case .agent: identity.credentials = [made] + identity.credentials.filter { $0.digest == old }
            case .enrolment:
                // Whoever enrols takes the place of the agent that was there.
                identity.credentials = [made]
                identity.enrolment = nil
                identity.enrolled = now()
                hasEnrolled = true
            }
            expires = made.expires
            return .write(identity)
        }
        if expires != nil { try await records.sync() }
        if hasEnrolled { tell("cluster.enrolled", name) }
        return expires
    }

    /// Keeps what an agent says of itself. Texts are cut to `ClusterState.maximumText`, and problems beyond
    /// `ClusterState.maximumProblems` are left out.
    package func keep(
        _ name: ClusterName, agent: String, kubernetes: String, problems: [String], unpinned: Int64
    ) async throws(ImageError) {
        func cut(_ text: String) -> String {
            text.utf8.count <= ClusterState.maximumText
                ? text : String(decoding: text.utf8.prefix(ClusterState.maximumText), as: UTF8.self)
        }
        let state = ClusterState(
            at: now(), agent: cut(agent), kubernetes: cut(kubernetes),
            problems: problems.prefix(ClusterState.maximumProblems).map(cut), unpinned: max(0, unpinned))
        try await records.write(state, at: try key(name, "state"))
        try await records.sync()
    }

    /// Whether a cluster's agent has a credential that is still good.
    package func isValid(_ identity: ClusterIdentity) -> Bool {
        identity.credentials.contains { now() < $0.expires }
    }

    // MARK: -

    private func tell(_ kind: String, _ name: ClusterName) { events?.add(kind, ["cluster": .string(name.text)]) }

    private func names() async throws(ImageError) -> [ClusterName] {
        try await records.listComponents(below: "clusters/", after: nil, limit: Self.maximumClusters)
            .compactMap { try? ClusterName($0.hasSuffix("/") ? $0.dropLast() : $0[...]) }
    }

    private func state(_ name: ClusterName) async throws(ImageError) -> ClusterState? {
        guard case .stored(let state) = try await records.find(try key(name, "state"), as: ClusterState.self) else {
            return nil
        }
        return state.value
    }

    private func identityKey(_ name: ClusterName) throws(ImageError) -> ObjectKey { try key(name, "identity") }

    private func key(_ name: ClusterName, _ part: String) throws(ImageError) -> ObjectKey {
        try ImageError.key("clusters/\(name)/\(part)")
    }

    private func check(_ labels: [String: String]) throws(ImageError) {
        guard labels.count <= Self.maximumLabels else {
            throw .unsuitableReport("a cluster has at most \(Self.maximumLabels) labels")
        }
        for (name, value) in labels {
            guard (try? StackName(name)) != nil, value.isEmpty || (try? StackName(value)) != nil else {
                throw .unsuitableReport(
                    "'\(name)=\(value)' can't be a label: names and values are [A-Za-z0-9][A-Za-z0-9._-]{0,62}")
            }
        }
    }

    private static func digest(_ secret: String) -> Digest { .of(secret.utf8) }

    private static func isSecret(_ text: String) -> Bool {
        secretLength.contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }

    /// 32 random bytes in base64url.
    package static func makeSecret() -> String {
        var generator = SystemRandomNumberGenerator()
        return Base64.encodeURL((0..<32).map { _ in UInt8.random(in: .min ... .max, using: &generator) })
    }
}
