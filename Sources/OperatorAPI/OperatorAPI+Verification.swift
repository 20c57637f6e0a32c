import HTTPTypes
import Images
import JSON
import OCI
import Registry
import Service

extension OperatorAPI {
    /// What is read a second unless somebody asks for more, in bytes: 64 MiB.
    private static let rate: Int64 = 64 << 20

    func addVerificationRoutes(to routes: inout Routes) {
        routes.get("/api/v1/verify", access: .role(.operator)) { _ in .json(verifications.status.json) }
        // Query: `repair=true`, `rate` in bytes a second. What it finds is told by GET.
        routes.post("/api/v1/verify", access: .role(.operator)) { request in
            let rate = try request.query("rate").map { Int64($0) ?? 0 } ?? Self.rate
            let repair = try request.query("repair") ?? "false"
            guard rate > 0, ["true", "false"].contains(repair) else {
                throw HTTPFailure(
                    .badRequest, "rate is a number of bytes a second, repair is true or false", code: "invalid-query")
            }
            try verifications.begin(VerificationRunner.Request(rate: rate, repair: repair == "true"))
            return Response(status: .accepted)
        }
    }
}

extension VerificationRunner.Status {
    var json: JSONValue {
        [
            "running": running?.json ?? .null, "last": last?.json ?? .null,
            "lastEnded": lastEnded.map { .string(Timestamp(seconds: $0 / 1_000_000_000).rfc3339) } ?? .null,
            "failure": failure.map { .string($0) } ?? .null,
        ]
    }
}

extension VerificationReport {
    var json: JSONValue {
        [
            "blobs": .integer(blobs), "bytes": .integer(bytes), "damagedBlobs": .integer(damagedCount),
            "damaged": .array(
                damages.map { damage in
                    [
                        "digest": .string(damage.digest.description), "reason": .string(damage.reason),
                        "users": .array(damage.users.map { .string($0) }),
                    ]
                }),
            "dangling": .integer(dangling), "orphanBytes": .integer(orphanBytes), "orphans": .integer(orphans),
            "repaired": .bool(isRepaired), "repositories": .integer(repositories), "unlinked": .integer(unlinked),
            "unreadable": .integer(unreadable),
            "unlisted": .integer(unlisted),
        ]
    }
}
