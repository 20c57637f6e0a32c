import HTTPTypes
import Images
import JSON
import Layers
import Logging
import Service

extension OperatorAPI {
    /// Query: `from`, the older version; `arch`; for POST `times`, `compared` or `ignored`.
    func addDeltaRoutes(to routes: inout Routes) {
        let path: RoutePattern = "/api/v1/rootfs/:stack/:version/delta"
        routes.get(path, access: .role(.operator)) { request in
            let stack = try StackName(request.parameters["stack"])
            let version = try VersionName(request.parameters["version"])
            guard let from = try request.query("from") else {
                return .json(["deltas": .array(try rootfs.deltas(stack, to: version).map(\.json))])
            }
            let delta = try rootfs.delta(
                stack, try VersionName(from), version, try Architecture(try request.query("arch") ?? "amd64"))
            return .json(delta.json)
        }
        routes.post(path, access: .role(.operator)) { try await computeDelta($0) }
    }

    /// Computes the delta from the current version, so that images can be made of it. Where there is none, they are made
    /// of the new version's own layers: that is no reason to refuse it.
    func computeDelta(to version: RootfsVersion, _ request: Request) async throws {
        guard let current = rootfs.history(version.stack)?.current, current != version.version else { return }
        do {
            _ = try await rootfs.computeDelta(
                DeltaRequest(
                    stack: version.stack, from: current, to: version.version, architecture: version.architecture,
                    times: .compared, compression: settings.compression, by: request.principal?.name ?? ""))
        } catch ImageError.cancelled {
            throw ImageError.cancelled
        } catch {
            request.logger.warning(
                "no rootfs delta",
                metadata: [
                    "stack": "\(version.stack)", "from": "\(current)", "version": "\(version.version)",
                    "reason": "\(error)",
                ])
        }
    }

    private func computeDelta(_ request: Request) async throws -> Response {
        guard let from = try request.query("from") else {
            throw HTTPFailure(
                .badRequest, "from is missing: the version that the delta begins with", code: "invalid-query")
        }
        guard let times = DeltaTimes(rawValue: try request.query("times") ?? DeltaTimes.compared.rawValue) else {
            throw HTTPFailure(.badRequest, "times is compared or ignored", code: "invalid-query")
        }
        let (delta, isNew) = try await rootfs.computeDelta(
            DeltaRequest(
                stack: try StackName(request.parameters["stack"]), from: try VersionName(from),
                to: try VersionName(request.parameters["version"]),
                architecture: try Architecture(try request.query("arch") ?? "amd64"), times: times,
                compression: settings.compression, by: request.principal?.name ?? ""))
        if isNew {
            request.logger.notice(
                "rootfs delta computed",
                metadata: [
                    "stack": "\(delta.stack)", "from": "\(delta.from)", "version": "\(delta.to)",
                    "bytes": "\(delta.layer.size)",
                ])
        }
        return .json(delta.json, status: isNew ? .created : .ok)
    }
}

extension RootfsDelta {
    /// `share` is the delta's size in percent of the version's layers.
    var json: JSONValue {
        [
            "stack": .string(stack.text), "from": .string(from.text), "version": .string(to.text),
            "architecture": .string(architecture.rawValue), "layer": layer.publicJSON,
            "uncompressedSize": .integer(uncompressedSize), "rootfsSize": .integer(rootfsSize),
            "sharePercent": .string(percent), "changed": .integer(Int64(changed)), "gone": .integer(Int64(gone)),
            "times": .string(times.rawValue), "computed": .string(computed.rfc3339), "computedBy": .string(computedBy),
        ]
    }

    /// As in `3.07`.
    private var percent: String {
        let hundredths = String(share % 100)
        return "\(share / 100).\(hundredths.count < 2 ? "0" : "")\(hundredths)"
    }
}
