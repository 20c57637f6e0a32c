import HTTPServer
import HTTPTypes
import Images
import JSON
import Layers
import Operations
import OperatorModel
import Rootfs
import Runtime

/// The layers that turn one rootfs version into another.
extension OperatorAPI {
    private static let from = "the version that the delta begins with"

    var deltaRoutes: [OperatorRoute] {
        let from = OperatorRoute.Query(name: "from", schema: String.schema, summary: "T\(Self.from.dropFirst()).")
        return [
            OperatorRoute(
                .get, "/api/v1/rootfs/:stack/:version/delta",
                "A delta that leads to a version; without `from`, all of them.", queries: [from, .architecture],
                answers: [200: .json { .either(Delta.schema, Deltas.schema) }], refusals: [400, 404]
            ) { request in
                let (stack, version) = (try request.stack(), try request.version())
                guard let from = try request.query("from") else {
                    return .model(Deltas(deltas: try rootfs.deltas(stack, to: version).map(\.model)))
                }
                return .model(
                    try rootfs.delta(stack, try VersionName(from), version, try request.architecture()).model)
            },
            OperatorRoute(
                .post, "/api/v1/rootfs/:stack/:version/delta",
                "Begins to compute the layer that turns one version into another, and to compare every name.",
                queries: [
                    .init(name: from.name, schema: from.schema(), summary: from.summary, isRequired: true),
                    .architecture,
                    .init(
                        name: "times", schema: Delta.Times.schema,
                        summary: "Whether a file counts as changed by its modification time alone."),
                ], answers: [202: .model(Operation.self)], refusals: [400, 404, 409, 422]
            ) { try await computeDelta($0) },
        ]
    }

    private func computeDelta(_ request: Request) async throws -> Response {
        let from = try VersionName(try request.needed("from", Self.from))
        guard let times = DeltaTimes(rawValue: try request.query("times") ?? DeltaTimes.compared.rawValue) else {
            throw HTTPFailure.query("times is compared or ignored")
        }
        return .accepted(
            try await begin(
                DeltaRequest(
                    stack: try request.stack(), from: from, to: try request.version(),
                    architecture: try request.architecture(), times: times, compression: settings.compression,
                    by: request.user, memory: settings.limits.memory)))
    }

    /// Begins the operation. A request that is obviously impossible is refused at once and not by the operation.
    private func begin(_ wanted: DeltaRequest) async throws -> OperationRecord {
        let (old, new) = try rootfs.check(wanted)
        // The new version is read twice: to compare the trees, and for the delta's content.
        let bytes = old.layers.totalSize.clampedAdding(new.layers.totalSize).clampedAdding(new.layers.totalSize)
        let parameters = [
            "stack": wanted.stack.text, "from": wanted.from.text, "version": wanted.to.text,
            "architecture": wanted.architecture.rawValue, "times": wanted.times.rawValue,
        ]
        return try await operations.begin(
            OperationRequest(kind: "delta", by: wanted.by, parameters: parameters)
        ) { operation in
            operation.advance(to: .init(done: 0, total: bytes, unit: "bytes"))
            return try await rootfs.computeDelta(wanted) { operation.advance(by: $0) }.delta.model.json
        }
    }
}
