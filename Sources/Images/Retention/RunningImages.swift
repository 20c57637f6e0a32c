import JSON
public import OCI
public import ObjectStore
public import Rootfs

/// A cluster's name: as a stack's.
public struct ClusterName: Hashable, Sendable, CustomStringConvertible {
    public let text: String

    /// - Throws: `ImageError.invalidName`.
    public init(_ text: some StringProtocol) throws(ImageError) {
        guard (try? StackName(text)) != nil else { throw .invalidName(what: "cluster", text: String(text)) }
        self.text = String(text)
    }

    public var description: String { text }
}

/// What a cluster said that it runs.
public struct ClusterPins: Sendable {
    public let cluster: ClusterName
    /// When its oldest part was reported, in nanoseconds since 1970.
    public let reported: Int64
    /// Whether every part of the report is there.
    public let isComplete: Bool
    /// Digests of manifests that run.
    public let digests: [Digest]
}

/// What runs where: `pins/<cluster>/<shard>`, as clusters report it. What runs is never retired.
public struct RunningImages: Sendable {
    /// The most digests that one shard of a report may have.
    public static let maximumDigests = 100_000
    public static let maximumShards = 1000

    private let store: any ObjectStore
    private let now: @Sendable () -> Int64

    /// - Parameter now: nanoseconds since 1970.
    public init(store: any ObjectStore, now: @escaping @Sendable () -> Int64) {
        self.store = store
        self.now = now
    }

    /// Takes one part of a report, durably. It replaces that part of the cluster's last one.
    /// - Throws: `.unsuitableReport` for more than `maximumDigests` or a shard that is not among `shards`.
    public func report(
        _ cluster: ClusterName, shard: Int, of shards: Int, _ digests: [Digest]
    ) async throws(ImageError) {
        guard (1...Self.maximumShards).contains(shards), (0..<shards).contains(shard) else {
            throw .unsuitableReport("shard \(shard) of \(shards): there may be 1 to \(Self.maximumShards)")
        }
        guard digests.count <= Self.maximumDigests else {
            throw .unsuitableReport("one shard has at most \(Self.maximumDigests) digests")
        }
        let json: JSONValue = [
            "digests": .array(digests.map { .string($0.description) }), "reported": .integer(now()),
            "shards": .integer(shards),
        ]
        do {
            try await store.put(try key(cluster, shard), json.canonicalBytes, if: .always)
            try await store.sync()
        } catch { throw .store(error) }
    }

    /// Forgets a cluster that is no more: what ran there may be retired.
    public func forget(_ cluster: ClusterName) async throws(ImageError) {
        do {
            for info in try await store.list(
                prefix: "pins/\(cluster)/", startAfter: nil, limit: Self.maximumShards)
            {
                try await store.delete(info.key, ifVersion: nil)
            }
            try await store.sync()
        } catch { throw .store(error) }
    }

    /// The last reports of all clusters.
    public func clusters() async throws(ImageError) -> [ClusterPins] {
        var shards: [String: [(index: Int, of: Int, reported: Int64, digests: [Digest])]] = [:]
        try await forEachObject(in: store, prefix: "pins/") { (object) throws(ImageError) in
            let parts = object.info.key.text.split(separator: "/")
            guard parts.count == 3, let index = Int(parts[2]), let json = try? JSONValue(parsing: object.bytes),
                let reported = json["reported"]?.integer, let of = json["shards"]?.integer,
                let digests = json["digests"]?.elements({ $0.string.flatMap { try? Digest(parsing: $0) } })
            else { throw .damaged(object.info.key) }
            shards[String(parts[1]), default: []].append((index, Int(of), reported, digests))
        }
        var clusters: [ClusterPins] = []
        for (name, parts) in shards.sorted(by: { $0.key < $1.key }) {
            // The newest part says how many there are; others of an older report may be left over.
            let count = parts.max { $0.reported < $1.reported }?.of ?? 1
            let current = parts.filter { $0.index < count && $0.of == count }
            clusters.append(
                ClusterPins(
                    cluster: try ClusterName(name), reported: current.map(\.reported).min() ?? 0,
                    isComplete: current.count == count,
                    // What an older report named may still run: it is only ever more that stays.
                    digests: parts.flatMap(\.digests)))
        }
        return clusters
    }

    private func key(_ cluster: ClusterName, _ shard: Int) throws(ObjectStoreError) -> ObjectKey {
        try ObjectKey("pins/\(cluster)/\(shard)")
    }
}
