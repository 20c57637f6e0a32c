import HTTPTypes
import Images
import JSON
import Layers
import Logging
import OCI
import Service

extension OperatorAPI {
    func addRootfsRoutes(to routes: inout Routes) {
        routes.get("/api/v1/rootfs", access: .role(.operator)) { _ in
            .json(["versions": .array(try rootfs.stacks.flatMap { try self.versions(of: $0) })])
        }
        routes.get("/api/v1/rootfs/:stack", access: .role(.operator)) { request in
            .json(["versions": .array(try self.versions(of: try StackName(request.parameters["stack"])))])
        }
        routes.get("/api/v1/rootfs/:stack/current", access: .role(.operator)) { request in
            .json(try self.current(of: try StackName(request.parameters["stack"])))
        }
        routes.put("/api/v1/rootfs/:stack/current", access: .role(.operator)) { try await promote($0) }
        routes.get("/api/v1/rootfs/:stack/:version", access: .role(.operator)) { request in
            let stack = try StackName(request.parameters["stack"])
            let version = try VersionName(request.parameters["version"])
            let variants = try rootfs.versions(stack).filter { $0.version == version }
            guard !variants.isEmpty else { throw ImageError.unknownVersion(stack, version) }
            return .json(["versions": .array(variants.map { $0.json(isCurrent: isCurrent($0)) })])
        }
        routes.put("/api/v1/rootfs/:stack/:version", access: .role(.operator)) { try await importRootfs($0) }
    }

    private func versions(of stack: StackName) throws(ImageError) -> [JSONValue] {
        try rootfs.versions(stack).map { $0.json(isCurrent: isCurrent($0)) }
    }

    private func isCurrent(_ version: RootfsVersion) -> Bool {
        rootfs.history(version.stack)?.current == version.version
    }

    /// The current version and how it came to that, newest first.
    private func current(of stack: StackName) throws(ImageError) -> JSONValue {
        let version = try rootfs.current(stack)
        let history = (rootfs.history(stack)?.promotions ?? []).map { promotion -> JSONValue in
            [
                "version": .string(promotion.version.text), "at": .string(promotion.at.rfc3339),
                "by": .string(promotion.by), "reason": .string(promotion.reason),
            ]
        }
        return ["stack": .string(stack.text), "version": .string(version.text), "history": .array(history)]
    }

    private func promote(_ request: Request) async throws -> Response {
        let stack = try StackName(request.parameters["stack"])
        let body = try await request.body(maximum: 64 << 10).collect()
        guard let json = try? JSONValue(parsing: body), let version = json["version"]?.string else {
            throw HTTPFailure(.badRequest, #"the body must be {"version": "…", "reason": "…"}"#, code: "invalid-body")
        }
        let reason = json["reason"]?.string ?? ""
        guard reason.utf8.count <= 1000 else {
            throw HTTPFailure(.badRequest, "the reason has more than 1000 bytes", code: "invalid-body")
        }
        let history = try await rootfs.promote(
            stack, try VersionName(version), by: request.principal?.name ?? "", reason: reason)
        request.logger.notice(
            "rootfs promoted", metadata: ["stack": "\(stack)", "version": "\(history.current)"])
        return .json(try current(of: stack))
    }

    /// Query: `arch`, `sha256`, `shell`, `promote`, and what `source(of:)` reads. The body is the file.
    private func importRootfs(_ request: Request) async throws -> Response {
        let stack = try StackName(request.parameters["stack"])
        let version = try VersionName(request.parameters["version"])
        let architecture = try Architecture(try request.query("arch") ?? "amd64")
        guard images.architectures.contains(architecture) else { throw ImageError.noLifecycle(architecture) }
        let shell = try request.query("shell") ?? "/bin/bash"
        guard shell.hasPrefix("/"), shell.utf8.count <= 255 else {
            throw HTTPFailure(.badRequest, "the shell must be an absolute path", code: "invalid-shell")
        }
        var checksum: Checksum?
        if let text = try request.query("sha256") {
            guard case .sha256(let hex)? = DropletHash(text) else {
                throw HTTPFailure(
                    .badRequest, "sha256 must be 64 lower-case hexadecimal digits", code: "invalid-sha256")
            }
            checksum = .sha256(hex)
        }
        let imported = try await rootfs.importRootfs(
            RootfsImport(
                stack: stack, version: version, architecture: architecture, checksum: checksum, shell: shell,
                compression: settings.compression, limits: settings.limits, by: request.principal?.name ?? "",
                source: try source(of: request)),
            from: try request.body(maximum: settings.maximumRootfs), logger: request.logger)
        if settings.computesDeltas { try await computeDelta(to: imported, request) }
        if try request.query("promote") == "true" {
            try await rootfs.promote(stack, version, by: request.principal?.name ?? "", reason: "imported")
        }
        return .json(imported.json(isCurrent: isCurrent(imported)), status: .created)
    }
}

extension RootfsVersion {
    func json(isCurrent: Bool) -> JSONValue {
        let members: [String: JSONValue] = [
            "stack": .string(stack.text), "version": .string(version.text),
            "architecture": .string(architecture.rawValue), "current": .bool(isCurrent), "system": .string(system),
            "source": .string(source.description), "size": .integer(sourceSize),
            "uncompressedSize": .integer(uncompressedSize), "created": .string(created.rfc3339),
            "shell": .string(shell), "imported": .string(imported.rfc3339), "importedBy": .string(importedBy),
            "layers": .array(layers.map(\.publicJSON)),
        ]
        return .object(members.merging(origin.members) { own, _ in own })
    }
}

extension LayerReference {
    var publicJSON: JSONValue {
        ["digest": .string(digest.description), "size": .integer(size), "diffID": .string(diffID.description)]
    }
}
