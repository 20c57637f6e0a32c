import HTTPTypes
import Images
import JSON
import Logging
import OCI
import Service

extension OperatorAPI {
    /// A report of 100,000 digests.
    private static let maximumReport: Int64 = 16 << 20

    func addPinRoutes(to routes: inout Routes) {
        routes.get("/api/v1/pins", access: .role(.operator)) { _ in
            .json(["clusters": .array(try await pins.clusters().map(\.json))])
        }
        routes.post("/api/v1/pins/:cluster", access: .role(.operator)) { request in
            let cluster = try ClusterName(request.parameters["cluster"])
            let (shard, shards, digests) = try Self.report(
                try await request.body(maximum: Self.maximumReport).collect())
            try await pins.report(cluster, shard: shard, of: shards, digests)
            return Response(status: .noContent)
        }
        routes.delete("/api/v1/pins/:cluster", access: .role(.operator)) { request in
            let cluster = try ClusterName(request.parameters["cluster"])
            try await pins.forget(cluster)
            request.logger.notice("cluster forgotten", metadata: ["cluster": "\(cluster)"])
            return Response(status: .noContent)
        }
    }

    /// `{"digests": ["sha256:…", …], "shard": 0, "shards": 1}`
    private static func report(_ body: [UInt8]) throws(HTTPFailure) -> (shard: Int, shards: Int, digests: [Digest]) {
        guard let json = try? JSONValue(parsing: body), let list = json["digests"]?.array else {
            throw HTTPFailure(
                .badRequest, #"the body must be {"digests": ["sha256:…"], "shard": 0, "shards": 1}"#,
                code: "invalid-body")
        }
        var digests: [Digest] = []
        for item in list {
            guard let digest = item.string.flatMap({ try? Digest(parsing: $0) }) else {
                throw HTTPFailure(.badRequest, "one of the digests is none", code: "invalid-body")
            }
            digests.append(digest)
        }
        return (Int(json["shard"]?.integer ?? 0), Int(json["shards"]?.integer ?? 1), digests)
    }
}

extension ClusterPins {
    /// `digests` is their number.
    var json: JSONValue {
        [
            "cluster": .string(cluster.text), "complete": .bool(isComplete), "digests": .integer(digests.count),
            "reported": .string(Timestamp(seconds: reported / 1_000_000_000).rfc3339),
        ]
    }
}
