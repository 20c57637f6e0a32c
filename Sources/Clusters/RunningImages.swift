import JSON
package import OCI
package import ObjectStore
package import Records
package import Rootfs
package import Runtime

/// What a cluster reported to run there.
package struct ClusterPins: Sendable {
    package let cluster: ClusterName
    /// When the oldest part of the report arrived, in nanoseconds since 1970.
    package let reported: Int64
    /// Whether every part of the report is there and readable.
    package let isComplete: Bool
    /// Digests of manifests that run, or of their configs, by which some runtimes call an image.
    package let digests: [Digest]
    /// `<droplet guid>:<tag>`, of what would start by a tag: the templates of stopped apps.
    package let tags: [String]
    /// Whether every part that is there can be read; if not, further digests may run too.
    package let isReadable: Bool
}

/// A part of a cluster's report.
private struct PinShard: JSONRecord {
    let reported: Int64
    let shards: Int64
    let digests: [Digest]
    let tags: [String]

    init(reported: Int64, shards: Int64, digests: [Digest], tags: [String]) {
        self.reported = reported
        self.shards = shards
        self.digests = digests
        self.tags = tags
    }

    init?(_ json: JSONValue, at key: ObjectKey) {
        guard let reported = json["reported"]?.integer, let shards = json["shards"]?.integer,
            let digests = json["digests"]?.elements({ $0.string.flatMap { try? Digest(parsing: $0) } })
        else { return nil }
        // Reports were without tags once.
        var tags: [String] = []
        if let member = json["tags"] {
            guard let texts = member.elements(\.string) else { return nil }
            tags = texts
        }
        self.init(reported: reported, shards: shards, digests: digests, tags: tags)
    }

    var json: JSONValue {
        var json: JSONObject = [
            "digests": .array(digests.map { .string($0.description) }), "reported": .integer(reported),
            "shards": .integer(shards),
        ]
        if !tags.isEmpty { json["tags"] = .array(tags.map { .string($0) }) }
        return .object(json)
    }
}

/// The images that run or could start again, as clusters report them: `pins/<cluster>/<shard>`. They are never retired.
package struct RunningImages: Sendable {
    /// The most digests and tags that one shard of a report may have.
    package static let maximumDigests = 100_000
    package static let maximumShards = 1000

    private let reports: RecordStore<ImageError>
    private let events: Events?
    private let now: @Sendable () -> Int64

    /// - Parameters:
    ///   - unreadable: collects the records that can't be read.
    ///   - events: gets each report that arrived.
    ///   - now: nanoseconds since 1970.
    package init(
        store: any ObjectStore, unreadable: UnreadableRecords = UnreadableRecords(),
        events: Events? = nil, now: @escaping @Sendable () -> Int64
    ) {
        reports = RecordStore(store, unreadable: unreadable)
        self.events = events
        self.now = now
    }

    /// Stores one part of a cluster's report, durably. It replaces the same part of the previous report.
    /// - Parameter tags: `<droplet guid>:<tag>`, of what would start by a tag.
    /// - Throws: `.unsuitableReport` for too many shards, a shard that is not among them, more than `maximumDigests`,
    ///   or a tag that is none.
    package func report(
        _ cluster: ClusterName, shard: Int, of shards: Int, _ digests: [Digest], tags: [String] = []
    ) async throws(ImageError) {
        guard (1...Self.maximumShards).contains(shards), (0..<shards).contains(shard) else {
            throw .unsuitableReport("shard \(shard) of \(shards): there may be 1 to \(Self.maximumShards)")
        }
        guard digests.count <= Self.maximumDigests, tags.count <= Self.maximumDigests - digests.count else {
            throw .unsuitableReport("one shard has at most \(Self.maximumDigests) digests and tags")
        }
        for tag in tags where tag.utf8.count > 400 || tag.utf8.split(separator: UInt8(ascii: ":")).count != 2 {
            throw .unsuitableReport("'\(tag.prefix(400))' is no tag of a droplet's image: those are GUID:TAG")
        }
        let part = PinShard(reported: now(), shards: Int64(shards), digests: digests, tags: tags)
        try await reports.write(part, at: try key(cluster, shard))
        try await reports.sync()
        events?.add(
            "cluster.reported",
            [
                "cluster": .string(cluster.text), "shard": .integer(shard), "shards": .integer(shards),
                "images": .integer(digests.count + tags.count),
            ])
    }

    /// Removes the reports of a cluster that no longer exists: what ran there may be retired.
    /// - Returns: whether there was one.
    @discardableResult
    package func forget(_ cluster: ClusterName) async throws(ImageError) -> Bool {
        let keys = try await reports.list("pins/\(cluster)/", after: nil, limit: Self.maximumShards)
        for key in keys { try await reports.remove(key) }
        try await reports.sync()
        return !keys.isEmpty
    }

    /// Its records, for verification.
    package static let folder = RecordFolder(
        "pins/", [RecordKind("report of a cluster", PinShard.self) { $0.text.split(separator: "/").count == 3 }])

    /// The last reports of all clusters.
    package func clusters() async throws(ImageError) -> [ClusterPins] {
        var shards: [String: [(index: Int, part: PinShard)]] = [:]
        var unreadable: Set<String> = []
        try await reports.forEach("pins/") { (key) throws(ImageError) in
            let parts = key.text.split(separator: "/")
            guard parts.count == 3, (try? ClusterName(parts[1])) != nil else {
                _ = try await reports.stranger(key)
                return
            }
            switch try await reports.find(key, as: PinShard.self) {
            case .missing: return
            case .stored(let stored):
                shards[String(parts[1]), default: []].append((Int(parts[2]) ?? .max, stored.value))
            case .unreadable:
                shards[String(parts[1]), default: []] += []
                unreadable.insert(String(parts[1]))
            }
        }
        var clusters: [ClusterPins] = []
        for (name, parts) in shards.sorted(by: { $0.key < $1.key }) {
            // The newest part tells how many parts there are; others may be left over from an older report.
            let count = parts.max { $0.part.reported < $1.part.reported }?.part.shards ?? 1
            let current = parts.filter { $0.index < count && $0.part.shards == count }
            let isReadable = !unreadable.contains(name)
            clusters.append(
                ClusterPins(
                    cluster: try ClusterName(name), reported: current.map(\.part.reported).min() ?? 0,
                    isComplete: isReadable && current.count == count,
                    // Digests of an older report count too, since they may still run: too many only keep more.
                    digests: parts.flatMap(\.part.digests), tags: parts.flatMap(\.part.tags),
                    isReadable: isReadable))
        }
        return clusters
    }

    private func key(_ cluster: ClusterName, _ shard: Int) throws(ImageError) -> ObjectKey {
        do { return try ObjectKey("pins/\(cluster)/\(shard)") } catch { throw .store(error) }
    }
}
