import Blobs
import Clusters
import Droplets
import HTTPServer
import HTTPTypes
import Images
import Logging
import Maintenance
import OCI
import ObjectStore
import OperatorModel
import Records
import Registry
import Rootfs
import Runtime

/// Droplets, and the store as a whole.
extension OperatorAPI {
    /// The most droplets that one answer lists.
    private static let pageSize = 500
    /// How many bytes a verification reads per second unless the request says otherwise.
    private static let rate: Int64 = 64 << 20

    var dropletRoutes: [OperatorRoute] {
        [
            OperatorRoute(
                .get, "/api/v1/droplets", "Droplets, a page at a time.",
                queries: [.init(name: "after", schema: String.schema, summary: "`next` of the page before.")]
            ) { request in
                let page = try await droplets.list(startAfter: try request.query("after"), limit: Self.pageSize)
                return Droplets(droplets: page.records.map(\.model), next: page.next)
            },
            OperatorRoute(
                .get, "/api/v1/droplets/:guid", "An app's droplets, the newest first.", refusals: [400]
            ) { request in
                let records = try await droplets.droplets(of: try DropletGUID(request.parameters["guid"]))
                return Droplets(droplets: records.map(\.model))
            },
            OperatorRoute(
                .get, "/api/v1/droplets/:guid/:hash", "A droplet and its image on the current rootfs.",
                refusals: [400, 404]
            ) { try await droplet($0) },
        ]
    }

    private func droplet(_ request: Request) async throws -> DropletImage {
        let guid = try DropletGUID(request.parameters["guid"])
        guard let hash = DropletHash(request.parameters["hash"]) else {
            throw ImageError.unknownDroplet(guid: guid.text, hash: request.parameters["hash"])
        }
        let record = try await droplets.droplet(guid, hash)
        return DropletImage(
            droplet: record.model, image: "\(registry(request))\(guid.repository):\(record.hash)",
            rootfs: rootfs.history(record.stack)?.current.text,
            digest: try await currentImage(of: record)?.manifestDigest)
    }

    /// A droplet's image on the current rootfs; nil if there is none for its stack and architecture, which is no error
    /// here.
    private func currentImage(of record: DropletRecord) async throws(ImageError) -> ComposedImage? {
        let tag = DropletTag(hash: .sha256(record.hash), version: nil)
        do { return try await images.image(record.guid, tag, .oci) } catch {
            switch error {
            case .unknownStack, .nothingPromoted, .noVariant: return nil
            default: throw error
            }
        }
    }

    var storeRoutes: [OperatorRoute] {
        [
            OperatorRoute(.get, "/api/v1/gc", "How collecting garbage goes.") { _ in try await work.status().0 },
            OperatorRoute(
                .post, "/api/v1/gc", "Begins to collect garbage.",
                queries: [.init(name: "dry-run", schema: Bool.schema, summary: "Only says what would go.")],
                answers: [202: .model(Operation.self)], refusals: [400, 409]
            ) { request in
                .accepted(try await work.collect(dryRun: try request.flag("dry-run"), by: request.user))
            },
            OperatorRoute(.get, "/api/v1/verify", "How verifying goes.") { _ in try await work.status().1 },
            OperatorRoute(
                .post, "/api/v1/verify", "Begins to read and hash everything again.",
                queries: [
                    .init(name: "repair", schema: Bool.schema, summary: "Corrects records."),
                    .init(name: "rate", schema: Int64.schema, summary: "Bytes a second."),
                ], answers: [202: .model(Operation.self)], refusals: [400, 409]
            ) { request in
                let rate = try request.query("rate").map { Int64($0) ?? 0 } ?? Self.rate
                guard rate > 0 else { throw HTTPFailure.query("rate is a number of bytes a second") }
                return .accepted(
                    try await work.verify(rate: rate, repair: try request.flag("repair"), by: request.user))
            },
            OperatorRoute(.get, "/api/v1/usage", "What is used of the limits.") { _ in
                work.quotas.usage.model
            },
            OperatorRoute(
                .post, "/api/v1/usage", "Begins to count what is used.", answers: [202: .model(Operation.self)],
                refusals: [409]
            ) { .accepted(try await work.count(by: $0.user)) },
            OperatorRoute(
                .get, "/api/v1/overview", "Stacks, versions, droplets, clusters and the store at a glance."
            ) { _ in try await overview() },
        ]
    }

    private func overview() async throws -> Overview {
        let counts = try await droplets.counts()
        let stacks = Set(rootfs.stacks).union(counts.keys).sorted { $0.text < $1.text }
        let (collection, verification) = try await work.status()
        return Overview(
            stacks: stacks.map { overview(of: $0, counts[$0] ?? [:]) },
            droplets: counts.values.reduce(0) { $0 + $1.values.reduce(0, +) },
            clusters: try await pins.clusters().map(\.model), collection: collection,
            verification: verification, usage: work.quotas.usage.model,
            unreadable: rootfs.records.unreadable.all.map {
                .init(key: $0.key.text, reason: $0.fault.description)
            })
    }

    private func overview(of stack: StackName, _ counts: [Architecture: Int]) -> Overview.Stack {
        let last = rootfs.history(stack)?.promotions.first
        return Overview.Stack(
            stack: stack.text, current: last?.version.text, since: last?.at.model, by: last?.by, reason: last?.reason,
            rollback: rootfs.rollbackTarget(stack)?.text,
            droplets: Dictionary(uniqueKeysWithValues: counts.map { ($0.key.rawValue, $0.value) }),
            versions: overviewOfVersions(stack))
    }

    /// Each version once, the latest import first.
    private func overviewOfVersions(_ stack: StackName) -> [Overview.Version] {
        let variants = (try? rootfs.versions(stack)) ?? []
        var order: [VersionName] = []
        for variant in variants where !order.contains(variant.version) { order.append(variant.version) }
        return order.map { version in
            let own = variants.filter { $0.version == version }
            return Overview.Version(
                version: version.text, current: isCurrent(stack, version),
                state: rootfs.availability(stack, version).model,
                reason: rootfs.versionState(stack, version)?.reason ?? "", system: own.first?.system ?? "",
                architectures: own.map(\.architecture.rawValue).sorted(), imported: own.map(\.imported).max()?.model)
        }
    }
}
