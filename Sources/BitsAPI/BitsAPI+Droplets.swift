import Blobs
import Droplets
import HTTPServer
import HTTPTypes
import Identity
import Images
import JSON
import OCI
import Rootfs
import Runtime

extension BitsAPI {
    func addDropletRoutes(to routes: inout Routes) {
        routes.put("/droplets/:guid/:hash") { request in
            let text = request.parameters["hash"]
            guard let checksum = DropletHash(text).flatMap({ Checksum($0) }) else {
                throw ImageError.invalidName(what: "droplet hash (SHA-256 or SHA-1 in hexadecimal)", text: text)
            }
            return try await upload(request, checksum: checksum)
        }
        routes.put("/droplets/:guid") { request in
            guard let header = request.headers[.digest] else {
                throw HTTPFailure(.badRequest, "the header 'Digest: sha256=…' is missing", code: "290003")
            }
            return try await upload(request, checksum: try Checksum(digestHeader: header))
        }
        routes.get("/droplets/:guid/:hash") { request in
            let record = try await record(request)
            return .file(
                ResponseFile(try await droplets.original(record).reader), for: request,
                contentType: "application/octet-stream",
                tag: EntityTag(record.content.digest.description))
        }
        routes.delete("/droplets/:guid/:hash") { request in
            let (guid, hash) = try name(request)
            try await droplets.remove(guid, hash)
            return Response(status: .noContent)
        }
    }

    private func upload(_ request: Request, checksum: Checksum) async throws -> Response {
        let body = try request.body(maximum: settings.maximumDroplet)
        let file = try request.file(named: ["droplet", "bits"], in: body)
        let staged = try Self.buildpacks(request)
        let record = try await droplets.upload(
            DropletUpload(
                guid: try DropletGUID(request.parameters["guid"]),
                stack: try request.query("stack").map { try StackName($0) } ?? settings.defaultStack,
                architecture: try request.query("arch").map { try Architecture($0) } ?? settings.defaultArchitecture,
                checksum: checksum, layout: settings.layout, limits: settings.limits,
                by: request.principal?.name ?? "", length: file.length, staged: staged,
                owner: try DropletOwner(org: try request.query("org"), space: try request.query("space"))),
            from: file, logger: request.logger)
        return .json(
            [
                "guid": .string(record.guid.text), "state": "READY", "type": "bits",
                "created_at": .string(record.uploaded.rfc3339), "sha1": .string(record.sha1),
                "sha256": .string(record.hash),
            ], status: .created)
    }

    /// The buildpacks that made the droplet: the header `Cistern-Buildpacks`, a JSON list of `{"name", "version"?,
    /// "source"?}` in the order in which they ran, the source `sha256:<hex>` of an archive or `git:<commit>`.
    private static func buildpacks(_ request: Request) throws(HTTPFailure) -> [StagedBuildpack] {
        guard let header = request.headers[.buildpacks] else { return [] }
        guard let list = StagedBuildpack.list(header) else {
            throw HTTPFailure(
                .badRequest,
                "the header 'Cistern-Buildpacks' is no list of at most \(StagedBuildpack.maximumCount) buildpacks",
                code: "290003")
        }
        return list
    }

    private func record(_ request: Request) async throws -> DropletRecord {
        let (guid, hash) = try name(request)
        return try await droplets.droplet(guid, hash)
    }

    private func name(_ request: Request) throws(ImageError) -> (DropletGUID, DropletHash) {
        let guid = try DropletGUID(request.parameters["guid"])
        guard let hash = DropletHash(request.parameters["hash"]) else {
            throw .unknownDroplet(guid: guid.text, hash: request.parameters["hash"])
        }
        return (guid, hash)
    }
}

extension HTTPField.Name {
    fileprivate static let digest = HTTPField.Name("Digest") ?? .contentType
    fileprivate static let buildpacks = HTTPField.Name("Cistern-Buildpacks") ?? .contentType
}
