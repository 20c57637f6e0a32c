import Bits
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
        let record: DropletRecord
        switch try await UploadedBits(request, maximum: settings.maximumDroplet, ["droplet", "bits"]) {
        case .copy(let source): record = try await copy(source, request, checksum)
        case .bytes(let bytes): record = try await upload(request, bytes, length: bytes.length, checksum)
        case .file(let file): record = try await upload(request, file, length: file.length, checksum)
        }
        // A droplet is converted while it arrives, so that nothing is left to do but to tell the controller.
        if try request.isAsynchronous {
            return processing(
                try await bits.accept(
                    .ready(sha1: record.sha1, sha256: record.hash), kind: "droplets", guid: record.guid.text,
                    by: record.uploadedBy))
        }
        var members = readyBits(record.guid.text, record.uploaded, sha1: record.sha1, sha256: record.hash)
        let registry = (settings.publicAddress ?? request.authority).map { "\($0)/" } ?? ""
        members["stack"] = .string(record.stack.text)
        members["architecture"] = .string(record.architecture.rawValue)
        members["image"] = .string("\(registry)\(record.guid.repository):\(record.hash)")
        return .json(.object(members), status: .created)
    }

    private func upload<Source: AsyncSequence & Sendable>(
        _ request: Request, _ source: Source, length: Int64?, _ checksum: Checksum
    ) async throws -> DropletRecord where Source.Element == [UInt8] {
        let stated = try Self.stated(request)
        return try await droplets.upload(
            DropletUpload(
                guid: try DropletGUID(request.parameters["guid"]), stack: stated.stack ?? settings.defaultStack,
                architecture: stated.architecture ?? settings.defaultArchitecture, checksum: checksum,
                layout: settings.layout, limits: settings.limits, by: request.principal?.name ?? "", length: length,
                staged: try Self.buildpacks(request),
                owner: try DropletOwner(org: try request.query("org"), space: try request.query("space")),
                stated: stated),
            from: source, logger: request.logger)
    }

    private static func stated(_ request: Request) throws -> StatedBase {
        StatedBase(
            stack: try request.query("stack").map { try StackName($0) },
            architecture: try request.query("arch").map { try Architecture($0) })
    }

    /// Copies a droplet to another app.
    /// - Parameters:
    ///   - source: the droplet's guid, and its hash after a `/` unless that is the checksum.
    ///   - checksum: what the copied droplet must be.
    private func copy(_ source: String, _ request: Request, _ checksum: Checksum) async throws -> DropletRecord {
        let parts = source.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let hash: DropletHash
        if parts.count == 2 {
            guard let named = DropletHash(parts[1]) else {
                throw ImageError.unknownDroplet(guid: String(parts[0]), hash: String(parts[1]))
            }
            hash = named
        } else {
            hash =
                switch checksum {
                case .digest(let digest): .sha256(digest.hex)
                case .sha1(let hex): .sha1(hex)
                }
        }
        return try await droplets.copy(
            try DropletGUID(parts[0]), hash, to: try DropletGUID(request.parameters["guid"]),
            of: try DropletOwner(org: try request.query("org"), space: try request.query("space")),
            checksum: checksum, by: request.principal?.name ?? "", stated: try Self.stated(request))
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
    fileprivate static let buildpacks = HTTPField.Name("Cistern-Buildpacks") ?? .contentType
}
