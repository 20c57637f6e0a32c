public import Blobs
import HTTPTypes
import Images
import JSON
public import Logging
import Registry
import Service

extension OperatorAPI {
    func addUsageRoutes(to routes: inout Routes) {
        routes.get("/api/v1/usage", access: .role(.operator)) { _ in .json(usage.quotas.usage.json) }
        // Counts anew, and answers when that is done.
        routes.post("/api/v1/usage", access: .role(.operator)) { request in
            try await usage.count()
            let counted = usage.quotas.usage
            counted.log(to: request.logger)
            return .json(counted.json)
        }
    }
}

extension QuotaUsage {
    /// The share of a limit from which on its use is worth a warning.
    private static let tight = 0.9

    var json: JSONValue {
        var json: [String: JSONValue] = [
            "counting": .bool(isCounting), "store": store.json,
            "quotas": .array(
                quotas.map { repositories, total in
                    var members = total.json.object ?? [:]
                    members["repositories"] = .string(repositories)
                    return .object(members)
                }),
            "counted": .null,
        ]
        if let count {
            json["counted"] = [
                "at": .string(Timestamp(seconds: count.ended / 1_000_000_000).rfc3339),
                "repositories": .integer(count.repositories), "logicalBytes": .integer(count.logicalBytes),
                "storeBytes": .integer(count.storeBytes),
                "largest": .array(
                    count.largest.map { ["repository": .string($0.repository), "bytes": .integer($0.bytes)] }),
            ]
        }
        return .object(json)
    }

    /// Logs a count: the totals, and each limit that is nearly reached.
    public func log(to logger: Logger) {
        guard let count else { return }
        logger.info(
            "counted usage",
            metadata: [
                "store": "\(count.storeBytes)", "logical": "\(count.logicalBytes)",
                "repositories": "\(count.repositories)", "duration": "\(count.duration)",
            ])
        for (repositories, total) in [("the store", store)] + quotas {
            guard let limit = total.limit, let used = total.used, Double(used) >= Double(limit) * Self.tight else {
                continue
            }
            logger.warning(
                "a quota is nearly used up",
                metadata: [
                    "repositories": "\(repositories)", "used": "\(used)", "limit": "\(limit)",
                    "denied": "\(total.denied)",
                ])
        }
    }
}

extension QuotaUsage.Total {
    fileprivate var json: JSONValue {
        [
            "limit": limit.map { .integer($0) } ?? .null, "used": used.map { .integer($0) } ?? .null,
            "reserved": .integer(reserved), "denied": .integer(denied),
        ]
    }
}
