import Archive
import Blobs
import HTTPTypes
import Images
import JSON
import Logging
import OCI
import Service

extension OperatorAPI {
    func addVersionRoutes(to routes: inout Routes) {
        let path: RoutePattern = "/api/v1/rootfs/:stack/:version"
        routes.get(path, access: .role(.operator)) { try await version($0) }
        routes.delete(path, access: .role(.operator)) { try await remove($0) }
        routes.put("/api/v1/rootfs/:stack/:version/state", access: .role(.operator)) { try await setState($0) }
        routes.get("/api/v1/rootfs/:stack/:version/export", access: .role(.operator)) { try await export($0) }
        routes.get("/api/v1/rootfs/:stack/:version/prepull", access: .role(.operator)) { try await prepull($0) }
    }

    /// A variant as lists have it.
    func json(of variant: RootfsVersion) -> JSONValue {
        var json = variant.json(isCurrent: isCurrent(variant.stack, variant.version)).object ?? [:]
        json["state"] = .string(rootfs.availability(variant.stack, variant.version).rawValue)
        return .object(json)
    }

    func isCurrent(_ stack: StackName, _ version: VersionName) -> Bool { rootfs.history(stack)?.current == version }

    /// How many droplets of a stack get images on its current version: those whose architecture it has.
    func dropletsOnCurrent(of stack: StackName) async throws(ImageError) -> Int {
        guard let version = rootfs.history(stack)?.current else { return 0 }
        let architectures = Set(try rootfs.versions(stack).filter { $0.version == version }.map(\.architecture))
        return try await droplets.counts()[stack, default: [:]].filter { architectures.contains($0.key) }.values
            .reduce(0, +)
    }

    /// All that is known of a version.
    private func version(_ request: Request) async throws -> Response {
        let (stack, version) = try name(request)
        let variants = try rootfs.versions(stack).filter { $0.version == version }
        guard !variants.isEmpty else { throw ImageError.unknownVersion(stack, version) }
        let promotions = (rootfs.history(stack)?.promotions ?? []).filter { $0.version == version }
        let isCurrent = isCurrent(stack, version)
        var details: [JSONValue] = []
        for variant in variants {
            var json = json(of: variant).object ?? [:]
            // Not recorded by earlier Cisterns.
            if let list = try await rootfs.packageList(of: variant) {
                json["packages"] = .integer(Int64(list.packages.count))
            }
            details.append(.object(json))
        }
        return .json([
            "stack": .string(stack.text), "version": .string(version.text), "current": .bool(isCurrent),
            "state": state(stack, version), "promotions": .array(promotions.map(\.json)),
            "droplets": .integer(isCurrent ? try await dropletsOnCurrent(of: stack) : 0),
            "versions": .array(details),
        ])
    }

    private func setState(_ request: Request) async throws -> Response {
        let (stack, version) = try name(request)
        let shape = #"{"state": "available", "deprecated" or "blocked", "reason": "…"}"#
        let json = try await request.object(shape)
        guard let wanted = json["state"]?.string.flatMap(VersionState.Availability.init(rawValue:)) else {
            throw HTTPFailure.body(shape)
        }
        _ = try await rootfs.setState(
            stack, version, wanted, by: request.principal?.name ?? "", reason: try Self.reason(json))
        request.logger.notice(
            "rootfs state", metadata: ["stack": "\(stack)", "version": "\(version)", "state": "\(wanted)"])
        return .json(state(stack, version))
    }

    /// Who said what of a version; nobody of one that was always available.
    private func state(_ stack: StackName, _ version: VersionName) -> JSONValue {
        let state = rootfs.versionState(stack, version)
        return [
            "state": .string(rootfs.availability(stack, version).rawValue), "reason": .string(state?.reason ?? ""),
            "at": state.map { .string($0.at.rfc3339) } ?? .null, "by": state.map { .string($0.by) } ?? .null,
        ]
    }

    /// Query: `force=true`.
    private func remove(_ request: Request) async throws -> Response {
        let (stack, version) = try name(request)
        let force = try request.query("force") ?? "false"
        guard ["true", "false"].contains(force) else {
            throw HTTPFailure(.badRequest, "force is true or false", code: "invalid-query")
        }
        try await retention.remove(stack, version, force: force == "true")
        request.logger.notice("rootfs removed", metadata: ["stack": "\(stack)", "version": "\(version)"])
        return Response(status: .noContent)
    }

    /// Query: `arch`. The layer as it is stored, whose digest is the answer's `ETag`.
    private func export(_ request: Request) async throws -> Response {
        let (stack, version) = try name(request)
        let architecture = try architecture(request)
        let variant = try rootfs.version(stack, version, architecture)
        let (suffix, type) =
            switch variant.layers.first?.compression ?? .none {
            case .none: ("tar", "application/x-tar")
            case .gzip: ("tar.gz", "application/gzip")
            case .zstd: ("tar.zst", "application/zstd")
            }
        let blob = try await rootfs.open(variant)
        var headers: HTTPFields = [:]
        headers[.contentDisposition] = "attachment; filename=\"\(stack)-\(version)-\(architecture).\(suffix)\""
        return .file(
            ResponseFile(blob.reader), for: request, contentType: type, tag: EntityTag(blob.blob.digest.description),
            headers: headers)
    }

    /// Query: `arch`.
    private func prepull(_ request: Request) async throws -> Response {
        let (stack, version) = try name(request)
        let prepull = try await images.prepull(stack, version, try architecture(request))
        return .json(prepull.json(stack, repository: (request.authority.map { "\($0)/" } ?? "") + "cistern/\(stack)"))
    }

    private func architecture(_ request: Request) throws -> Architecture {
        try Architecture(try request.query("arch") ?? "amd64")
    }

    private func name(_ request: Request) throws(ImageError) -> (StackName, VersionName) {
        (try StackName(request.parameters["stack"]), try VersionName(request.parameters["version"]))
    }
}

extension Prepull {
    /// - Parameter repository: of the base images, with the host that clients ask for.
    fileprivate func json(_ stack: StackName, repository: String) -> JSONValue {
        let pull = base.map { base -> JSONValue in
            [
                "reference": .string("\(repository)@\(base.image.manifestDigest)"),
                "version": .string(base.version.text),
                "bytes": .integer(rootfs.reduce(0) { $0 + $1.size }), "helpsPrevious": .bool(helpsPrevious),
            ]
        }
        return [
            "stack": .string(stack.text), "version": .string(version.text),
            "architecture": .string(architecture.rawValue), "form": .string(delta.isEmpty ? "full" : "delta"),
            "previous": previous.map { .string($0.text) } ?? .null, "pull": .array(pull.map { [$0] } ?? []),
            "rootfs": .array(rootfs.map(\.publicJSON)), "lifecycle": lifecycle.publicJSON,
            "delta": .array(delta.map(\.publicJSON)),
            "bytes": [
                "empty": .integer(emptyBytes), "previous": previousBytes.map { .integer($0) } ?? .null,
                "pulled": .integer(pulledBytes),
            ],
        ]
    }
}

extension HTTPField.Name {
    fileprivate static let contentDisposition = HTTPField.Name("Content-Disposition") ?? .contentType
}
