import HTTPTypes
import Images
import JSON
import Logging
import Registry
import Service

extension OperatorAPI {
    func addCollectionRoutes(to routes: inout Routes) {
        routes.get("/api/v1/gc", access: .role(.operator)) { _ in .json(collections.status.json) }
        routes.post("/api/v1/gc", access: .role(.operator)) { request in
            let dryRun: Bool
            switch try request.query("dry-run") {
            case nil, "false": dryRun = false
            case "true", "": dryRun = true
            default: throw HTTPFailure(.badRequest, "dry-run is true or false", code: "invalid-query")
            }
            let report = try await collections.run(dryRun: dryRun)
            request.logger.notice(
                "collected",
                metadata: [
                    "dry-run": "\(dryRun)", "retired": "\(report.retired)", "bytes": "\(report.retiredBytes)",
                    "blobs": "\(report.blobs)",
                ])
            return .json(report.json)
        }
    }
}

extension CollectionRunner.Status {
    var json: JSONValue {
        [
            "running": running?.json ?? .null, "last": last?.json ?? .null,
            "lastEnded": lastEnded.map { .string(Timestamp(seconds: $0 / 1_000_000_000).rfc3339) } ?? .null,
        ]
    }
}

extension CollectionReport {
    var json: JSONValue {
        [
            "blobs": .integer(blobs), "damaged": .integer(damaged), "leased": .integer(leased),
            "marked": .integer(marked), "repositories": .integer(repositories),
            "repositoriesRead": .integer(repositoriesRead), "retired": .integer(retired),
            "retiredBytes": .integer(retiredBytes),
            "retention": [
                "droplets": .integer(retention.droplets), "manifests": .integer(retention.manifests),
                "rootfsVersions": .integer(retention.rootfsVersions),
                "withheld": retention.withheld.map { .string($0) } ?? .null,
            ],
        ]
    }
}
