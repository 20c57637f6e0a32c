import Droplets
import HTTPServer
import HTTPTypes
import Images
import Layers
import Logging
import OCI
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
            ],
            body: .file([
                "application/octet-stream", "application/vnd.oci.image.layout.v1+tar",
                "application/vnd.docker.image.archive.v1+tar",
            ]),
            answers: [201: .model(Version.self)], refusals: [400, 409, 413, 422, 507]
        ) { try await importRootfs($0) }
    }

    private func importRootfs(_ request: Request) async throws -> Response {
        let wanted = try rootfsImport(request)
        let promotes = try request.flag("promote")
        let imported = try await rootfs.importRootfs(
            wanted, from: try request.body(maximum: settings.maximumRootfs), logger: request.logger)
        if settings.computesDeltas { try await computeDelta(to: imported, request) }
        if promotes {
            try await rootfs.promote(imported.stack, imported.version, by: request.user, reason: "imported")
        }
        return .model(model(of: imported), status: .created)
    }

    /// Computes the delta from the current version, so that images can be made of it. Where there is none, they are made
    /// of the new version's own layers: that is no reason to refuse it.
    private func computeDelta(to version: RootfsVersion, _ request: Request) async throws {
        guard let current = rootfs.history(version.stack)?.current, current != version.version else { return }
        do {
            _ = try await rootfs.computeDelta(
                DeltaRequest(
                    stack: version.stack, from: current, to: version.version, architecture: version.architecture,
                    times: .compared, compression: settings.compression, by: request.user))
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

    /// What path, query, content type and the signature's header say of an import.
    private func rootfsImport(_ request: Request) throws -> RootfsImport {
        let architecture = try request.architecture()
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
        // The signature file's bytes in base64.
        if let name = HTTPField.Name("Cistern-Signature"), let text = request.headers[name] {
            do throws(SignatureError) { source.signature = try DetachedSignature(base64: text) } catch {
                throw ImageError.untrusted("\(error)")
            }
        }
        return source
    }

    /// A body is taken for an image only if its sender says so.
    private static func form(_ contentType: String?) -> RootfsSource.Form {
        switch contentType?.split(separator: ";").first?.lowercased() {
        case "application/vnd.oci.image.layout.v1+tar": .oci
        case "application/vnd.docker.image.archive.v1+tar": .docker
        default: .tar
        }
    }
}
