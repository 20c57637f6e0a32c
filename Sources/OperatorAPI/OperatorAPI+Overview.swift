import Blobs
import HTTPTypes
import Images
import JSON
import Registry
import Service

extension OperatorAPI {
    func addOverviewRoute(to routes: inout Routes) {
        routes.get("/api/v1/overview", access: .role(.operator)) { _ in .json(try await overview()) }
    }

    /// What an operator wants to see at once.
    private func overview() async throws -> JSONValue {
        let counts = try await droplets.counts()
        let stacks = Set(rootfs.stacks).union(counts.keys).sorted { $0.text < $1.text }
        return [
            "stacks": .array(stacks.map { overview(of: $0, counts[$0] ?? [:]) }),
            "droplets": .integer(counts.values.reduce(0) { $0 + $1.values.reduce(0, +) }),
            "clusters": .array(try await pins.clusters().map(\.json)), "collection": collections.status.json,
            "verification": verifications.status.json, "usage": usage.quotas.usage.json,
        ]
    }

    private func overview(of stack: StackName, _ counts: [Architecture: Int]) -> JSONValue {
        let last = rootfs.history(stack)?.promotions.first
        return [
            "stack": .string(stack.text), "current": last.map { .string($0.version.text) } ?? .null,
            "since": last.map { .string($0.at.rfc3339) } ?? .null, "by": last.map { .string($0.by) } ?? .null,
            "reason": last.map { .string($0.reason) } ?? .null,
            "rollback": rootfs.rollbackTarget(stack).map { .string($0.text) } ?? .null,
            "droplets": .object(
                Dictionary(uniqueKeysWithValues: counts.map { ($0.key.rawValue, .integer($0.value)) })),
            "versions": .array(versions(of: stack)),
        ]
    }

    /// Each version once, the youngest import first.
    private func versions(of stack: StackName) -> [JSONValue] {
        let variants = (try? rootfs.versions(stack)) ?? []
        var order: [VersionName] = []
        for variant in variants where !order.contains(variant.version) { order.append(variant.version) }
        return order.map { version in
            let own = variants.filter { $0.version == version }
            return [
                "version": .string(version.text), "current": .bool(isCurrent(stack, version)),
                "state": .string(rootfs.availability(stack, version).rawValue),
                "reason": .string(rootfs.versionState(stack, version)?.reason ?? ""),
                "system": .string(own.first?.system ?? ""),
                "architectures": .array(own.map(\.architecture.rawValue).sorted().map { .string($0) }),
                "imported": own.map(\.imported).max().map { .string($0.rfc3339) } ?? .null,
            ]
        }
    }
}
