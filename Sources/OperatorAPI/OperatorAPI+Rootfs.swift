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
        routes.put("/api/v1/rootfs/:stack/:version", access: .role(.operator)) { try await importRootfs($0) }
    }

    private func versions(of stack: StackName) throws(ImageError) -> [JSONValue] {
        try rootfs.versions(stack).map { json(of: $0) }
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
        return .json(json(of: imported), status: .created)
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
