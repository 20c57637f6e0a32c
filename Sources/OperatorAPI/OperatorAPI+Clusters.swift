import Archive
import Clusters
import HTTPServer
import HTTPTypes
import Identity
import JSON
import Layers
import Logging
import Maintenance
import OCI
import OperatorModel
import Rootfs
import Runtime

// Clusters call home: operators add them, their agents enrol and report.
extension OperatorAPI {
    /// The largest part of a cluster's report, in bytes.
    private static let maximumReport: Int64 = 16 << 20

    var clusterRoutes: [OperatorRoute] {
        [
            OperatorRoute(.get, "/api/v1/clusters", "The clusters that were added.") { _ in
                let reports = try await pins.clusters()
                return ClusterInfos(
                    clusters: try await clusters.all().map { known in
                        info(of: known, reports.first { $0.cluster == known.name })
                    })
            },
            OperatorRoute(
                .put, "/api/v1/clusters/:cluster", "Adds a cluster, or lets a known one enrol again.",
                body: .model(NewCluster.self), bodyIsOptional: true,
                answers: [200: .model(ClusterEnrolment.self)], refusals: [400]
            ) { request in
                let cluster = try ClusterName(request.parameters["cluster"])
                let wanted = try await request.model(NewCluster.self, mayBeEmpty: true)
                let (secret, expires) = try await clusters.add(cluster, labels: wanted.labels, by: request.user)
                request.logger.notice("cluster added", metadata: ["cluster": "\(cluster)"])
                let answer = ClusterEnrolment(
                    cluster: cluster.text, secret: secret, expires: Timestamp(nanoseconds: expires).model)
                return .model(answer, headers: [.cacheControl: "no-store"])
            },
            OperatorRoute(
                .get, "/api/v1/clusters/:cluster", "A cluster: its agent, its health, its last report.",
                refusals: [400, 404]
            ) { request in
                let name = try ClusterName(request.parameters["cluster"])
                guard let known = try await clusters.find(name) else { throw Self.unknown(name) }
                return info(of: known, try await pins.clusters().first { $0.cluster == name })
            },
            OperatorRoute(
                .delete, "/api/v1/clusters/:cluster",
                "Forgets a cluster that is no more: its credential ends, and what ran there may be retired.",
                answers: [204: .nothing], refusals: [400, 404]
            ) { request in
                let name = try ClusterName(request.parameters["cluster"])
                guard try await clusters.forget(name) else { throw Self.unknown(name) }
                request.logger.notice("cluster forgotten", metadata: ["cluster": "\(name)"])
                return Response(status: .noContent)
            },
            OperatorRoute(
                .post, "/api/v1/clusters/:cluster/credential",
                "Takes a credential that the agent made up, in exchange for the enrolment secret or the credential before it.",
                body: .model(NewClusterCredential.self), answers: [200: .model(ClusterCredential.self)],
                refusals: [400, 403]
            ) { request in
                let name = try ClusterName(request.parameters["cluster"])
                guard
                    let secret = request.authorization.flatMap({
                        ClusterAuthenticator.secret(of: name.text, in: $0)
                    })
                else {
                    throw HTTPFailure(
                        .forbidden, "only the agent of the cluster \(name) enrols, as the user cluster/\(name)",
                        code: "forbidden")
                }
                let wanted = try await request.model(NewClusterCredential.self)
                guard let expires = try await clusters.exchange(secret, for: wanted.credential, of: name) else {
                    throw HTTPFailure.unauthorized
                }
                request.logger.notice("cluster has a new credential", metadata: ["cluster": "\(name)"])
                return .model(ClusterCredential(cluster: name.text, expires: Timestamp(nanoseconds: expires).model))
            },
            OperatorRoute(
                .put, "/api/v1/clusters/:cluster/state", "Takes what a cluster's agent says of itself.",
                body: .model(NewClusterState.self), answers: [204: .nothing], refusals: [400, 413]
            ) { request in
                let name = try ClusterName(request.parameters["cluster"])
                let state = try await request.model(NewClusterState.self)
                try await clusters.keep(
                    name, agent: state.agent, kubernetes: state.kubernetes, problems: state.problems,
                    unpinned: state.unpinned)
                return Response(status: .noContent)
            },
        ] + pinRoutes
    }

    var pinRoutes: [OperatorRoute] {
        [
            OperatorRoute(.get, "/api/v1/pins", "The clusters that say what runs there.") { _ in
                Clusters(clusters: try await pins.clusters().map(\.model))
            },
            OperatorRoute(.get, "/api/v1/pins/:cluster", "What a cluster said last.", refusals: [400, 404]) { request in
                let cluster = try ClusterName(request.parameters["cluster"])
                guard let found = try await pins.clusters().first(where: { $0.cluster == cluster }) else {
                    throw HTTPFailure(.notFound, "the cluster \(cluster) has said nothing yet", code: "unknown")
                }
                return found.model
            },
            OperatorRoute(
                .post, "/api/v1/pins/:cluster", "Takes a cluster's report of what runs there, or a part of it.",
                body: .model(ClusterReport.self), answers: [204: .nothing], refusals: [400, 413]
            ) { request in
                let cluster = try ClusterName(request.parameters["cluster"])
                let report = try await request.model(ClusterReport.self, maximum: Self.maximumReport)
                try await pins.report(
                    cluster, shard: report.shard ?? 0, of: report.shards ?? 1, report.digests, tags: report.tags ?? [])
                return Response(status: .noContent)
            },
            OperatorRoute(
                .delete, "/api/v1/pins/:cluster", "Forgets a cluster that is no more.", answers: [204: .nothing],
                refusals: [400]
            ) { request in
                let cluster = try ClusterName(request.parameters["cluster"])
                try await pins.forget(cluster)
                request.logger.notice("cluster forgotten", metadata: ["cluster": "\(cluster)"])
                return Response(status: .noContent)
            },
        ]
    }

    private static func unknown(_ name: ClusterName) -> HTTPFailure {
        HTTPFailure(.notFound, "there is no cluster \(name): `cistern cluster list` shows all", code: "unknown")
    }

    private func info(of known: KnownCluster, _ report: ClusterPins?) -> ClusterInfo {
        let identity = known.identity
        return ClusterInfo(
            cluster: known.name.text, health: health(of: known, report), labels: identity.labels,
            added: Timestamp(nanoseconds: identity.added).model, addedBy: identity.addedBy,
            enrolled: identity.enrolled.map { Timestamp(nanoseconds: $0).model },
            expires: identity.credentials.map(\.expires).max().map { Timestamp(nanoseconds: $0).model },
            state: known.state.map {
                ClusterInfo.State(
                    at: Timestamp(nanoseconds: $0.at).model, agent: $0.agent, kubernetes: $0.kubernetes,
                    problems: $0.problems, unpinned: $0.unpinned)
            }, report: report?.model)
    }

    private func health(of known: KnownCluster, _ report: ClusterPins?) -> ClusterInfo.Health {
        guard known.identity.enrolled != nil else { return .waiting }
        guard clusters.isValid(known.identity) else { return .expired }
        guard let report, retention.isTrusted(report) else { return .silent }
        return known.state?.problems.isEmpty ?? true ? .healthy : .troubled
    }
}
