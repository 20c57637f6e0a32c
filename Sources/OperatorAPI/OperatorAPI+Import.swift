import Blobs
import Droplets
import HTTPServer
import HTTPTypes
import Images
import JSON
import Layers
import Logging
import OCI
import Operations
import OperatorModel
import Rootfs
import Signatures

extension OperatorAPI {
    var importRoute: OperatorRoute {
        OperatorRoute(
            .put, "/api/v1/rootfs/:stack/:version", "Imports a rootfs as a version's variant.",
            queries: [
                .architecture,
                .init(name: "sha256", schema: String.schema, summary: "What the file has to have."),
                .init(
                    name: "digest", schema: Digest.schema, summary: "The image that is meant, where there are several."),
                .init(name: "name", schema: String.schema, summary: "What the sender calls the source."),
                .init(name: "shell", schema: String.schema, summary: "An absolute path; /bin/bash without it."),
                .init(name: "promote", schema: Bool.schema, summary: "Makes it current."),
                .kind,
            ],
            body: .file([
                "application/octet-stream", "application/vnd.oci.image.layout.v1+tar",
                "application/vnd.docker.image.archive.v1+tar",
            ]),
            answers: [201: .model(Version.self)], refusals: [400, 409, 413, 422, 507]
        ) { try await importRootfs($0) }
    }

    /// Imports within the request: the operation's first part ends with the import, and fails if the client goes away.
    /// The delta, which takes long, is computed in the background.
    private func importRootfs(_ request: Request) async throws -> Response {
        let wanted = try rootfsImport(request)
        let (kind, promotes) = (try request.kind(), try request.flag("promote"))
        guard kind == .run || !promotes else { throw HTTPFailure.query("what builds run in can't be promoted") }
        if kind == .run || builds.versions(wanted.stack).isEmpty { try rootfs.requirePullable(wanted.stack) }
        let body = try request.body(maximum: settings.maximumRootfs)
        let logger = request.logger
        let parameters = [
            "stack": wanted.stack.text, "version": wanted.version.text, "architecture": wanted.architecture.rawValue,
            "promote": "\(promotes)", "kind": kind.rawValue,
        ]
        func describe(_ imported: RootfsVersion) -> Version {
            kind == .run ? model(of: imported) : imported.buildModel
        }
        let (imported, record) = try await operations.attend(
            OperationRequest(kind: "import", by: wanted.by, parameters: parameters)
        ) { operation in
            operation.advance(to: .init(done: 0, total: body.length, unit: "bytes"))
            let bytes = body.map { chunk in
                operation.advance(by: Int64(chunk.count))
                return chunk
            }
            guard kind == .run else { return try await builds.importRootfs(wanted, from: bytes, logger: logger) }
            let imported = try await rootfs.importRootfs(wanted, from: bytes, logger: logger)
            if promotes, delta(to: imported, by: wanted.by) == nil { try await promote(imported, by: wanted.by) }
            return imported
        } report: {
            describe($0).json
        } then: { imported in
            guard kind == .run, let delta = delta(to: imported, by: wanted.by) else { return nil }
            return { _ in
                try await compute(delta, logger)
                if promotes { try await promote(imported, by: wanted.by) }
                return model(of: imported).json
            }
        }
        var version = describe(imported)
        if record.state != .done { version.operation = record.id }
        return .model(version, status: .created)
    }

    private func promote(_ version: RootfsVersion, by user: String) async throws(ImageError) {
        try await rootfs.promote(version.stack, version.version, by: user, reason: "imported")
    }

    /// The delta from the current version to the imported one; nil if deltas are not configured or there is nothing to
    /// compute.
    private func delta(to version: RootfsVersion, by user: String) -> DeltaRequest? {
        guard settings.computesDeltas, let current = rootfs.history(version.stack)?.current, current != version.version
        else { return nil }
        return DeltaRequest(
            stack: version.stack, from: current, to: version.version, architecture: version.architecture,
            times: .compared, compression: settings.compression, by: user, memory: settings.limits.memory)
    }

    /// Computes a delta. A failure is only logged, since images are then made of the new version's own layers.
    /// - Throws: `.cancelled`.
    private func compute(_ delta: DeltaRequest, _ logger: Logger) async throws {
        do { _ = try await rootfs.computeDelta(delta) } catch ImageError.cancelled {
            throw ImageError.cancelled
        } catch {
            logger.warning(
                "no rootfs delta",
                metadata: [
                    "stack": "\(delta.stack)", "from": "\(delta.from)", "version": "\(delta.to)", "reason": "\(error)",
                ])
        }
    }

    /// The import that the path, the query, the content type and the signature's header describe.
    private func rootfsImport(_ request: Request) throws -> RootfsImport {
        let architecture = try request.architecture()
        guard images.architectures.contains(architecture) else { throw ImageError.noLifecycle(architecture) }
        let shell = try request.query("shell") ?? "/bin/bash"
        guard shell.hasPrefix("/"), shell.utf8.count <= 255 else {
            throw HTTPFailure(.badRequest, "the shell must be an absolute path", code: "invalid-shell")
        }
        var checksum: Checksum?
        if let text = try request.query("sha256") {
            guard let digest = try? Digest(.sha256, hex: text) else {
                throw HTTPFailure(
                    .badRequest, "sha256 must be 64 lower-case hexadecimal digits", code: "invalid-sha256")
            }
            checksum = .digest(digest)
        }
        return RootfsImport(
            stack: try request.stack(), version: try request.version(), architecture: architecture, checksum: checksum,
            shell: shell, compression: settings.compression, limits: settings.limits, by: request.user,
            source: try source(of: request))
    }

    private func source(of request: Request) throws -> RootfsSource {
        var source = RootfsSource(
            form: Self.form(request.headers[.contentType]), trusted: settings.trusted(),
            mustBeSigned: settings.rootfsMustBeSigned)
        if let text = try request.query("digest") {
            guard source.form != .tar, let digest = try? Digest(parsing: text) else {
                throw HTTPFailure(.badRequest, "digest must be an image's sha256:… or sha512:…", code: "invalid-digest")
            }
            source.digest = digest
        }
        if let name = try request.query("name") {
            guard (1...1024).contains(name.utf8.count),
                name.unicodeScalars.allSatisfy({ $0.value >= 32 && $0.value != 127 })
            else { throw HTTPFailure.query("the source's name can't be taken") }
            source.name = name
        }
        // The header has the signature file's bytes in base64.
        if let name = HTTPField.Name("Cistern-Signature"), let text = request.headers[name] {
            do throws(SignatureError) { source.signature = try DetachedSignature(base64: text) } catch {
                throw ImageError.untrusted("\(error)")
            }
        }
        return source
    }

    /// The form of a body by its content type. A body counts as an image only if its sender says so.
    private static func form(_ contentType: String?) -> RootfsSource.Form {
        switch contentType?.split(separator: ";").first?.lowercased() {
        case "application/vnd.oci.image.layout.v1+tar": .oci
        case "application/vnd.docker.image.archive.v1+tar": .docker
        default: .tar
        }
    }
}
