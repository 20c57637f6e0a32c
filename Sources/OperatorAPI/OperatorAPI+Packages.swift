import HTTPTypes
import Images
import JSON
import Service

extension OperatorAPI {
    /// Query: `arch`; for the differences `from`, the older version.
    func addPackageRoutes(to routes: inout Routes) {
        routes.get("/api/v1/rootfs/:stack/:version/packages", access: .role(.operator)) { request in
            let stack = try StackName(request.parameters["stack"])
            let version = try VersionName(request.parameters["version"])
            let architecture = try Architecture(try request.query("arch") ?? "amd64")
            let list = try await rootfs.packages(stack, version, architecture)
            return .json([
                "stack": .string(stack.text), "version": .string(version.text),
                "architecture": .string(architecture.rawValue), "manager": .string(list.manager.rawValue),
                "distribution": ["id": .string(list.distribution.id), "version": .string(list.distribution.version)],
                "complete": .bool(list.isComplete), "skipped": .integer(list.skipped),
                "packages": .array(list.packages.map(\.json)),
            ])
        }
        routes.get("/api/v1/rootfs/:stack/:version/diff", access: .role(.operator)) { request in
            guard let from = try request.query("from") else {
                throw HTTPFailure(
                    .badRequest, "from is missing: the version to compare with", code: "invalid-query")
            }
            let stack = try StackName(request.parameters["stack"])
            let version = try VersionName(request.parameters["version"])
            let former = try VersionName(from)
            let architecture = try Architecture(try request.query("arch") ?? "amd64")
            let changes = try await rootfs.packageChanges(stack, from: former, to: version, architecture)
            return .json([
                "stack": .string(stack.text), "from": .string(former.text), "version": .string(version.text),
                "architecture": .string(architecture.rawValue), "complete": .bool(changes.isComplete),
                "added": .array(changes.added.map(\.json)), "removed": .array(changes.removed.map(\.json)),
                "upgraded": .array(changes.upgraded.map(\.json)), "downgraded": .array(changes.downgraded.map(\.json)),
                "changed": .array(changes.changed.map(\.json)), "unchanged": .integer(changes.unchanged),
            ])
        }
    }
}

extension PackageChanges.Change {
    var json: JSONValue {
        [
            "name": .string(to.name), "architecture": .string(to.architecture), "from": .string(from.version),
            "to": .string(to.version), "fromArchitecture": .string(from.architecture),
        ]
    }
}
