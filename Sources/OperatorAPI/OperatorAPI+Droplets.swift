import HTTPTypes
import Images
import JSON
import Layers
import Logging
import OCI
import Service

extension OperatorAPI {
    /// How many droplets one answer lists at most.
    private static let pageSize = 500

    func addDropletRoutes(to routes: inout Routes) {
        routes.get("/api/v1/droplets", access: .role(.operator)) { request in
            let page = try await droplets.list(startAfter: try request.query("after"), limit: Self.pageSize)
            var json: [String: JSONValue] = ["droplets": .array(page.records.map { $0.json })]
            if let next = page.next { json["next"] = .string(next) }
            return .json(.object(json))
        }
        routes.get("/api/v1/droplets/:guid", access: .role(.operator)) { request in
            let records = try await droplets.droplets(of: try DropletGUID(request.parameters["guid"]))
            return .json(["droplets": .array(records.map { $0.json })])
        }
        routes.get("/api/v1/droplets/:guid/:hash", access: .role(.operator)) { try await droplet($0) }
    }

    /// A droplet with its image: the reference that pods use, and the digest it stands for now.
    private func droplet(_ request: Request) async throws -> Response {
        let guid = try DropletGUID(request.parameters["guid"])
        guard let hash = DropletHash(request.parameters["hash"]) else {
            throw ImageError.unknownDroplet(guid, hash: request.parameters["hash"])
        }
        let record = try await droplets.droplet(guid, hash)
        guard var json = record.json.object else { return .json(record.json) }
        let host = request.authority.map { "\($0)/" } ?? ""
        json["image"] = .string("\(host)\(guid.repository):\(record.hash)")
        json["rootfs"] = rootfs.history(record.stack).map { .string($0.current.text) } ?? .null
        json["digest"] = try await currentImage(of: record).map { .string($0.manifestDigest.description) } ?? .null
        return .json(.object(json))
    }

    /// nil before a rootfs is promoted: the droplet is there all the same.
    private func currentImage(of record: DropletRecord) async throws(ImageError) -> ComposedImage? {
        let tag = DropletTag(hash: .sha256(record.hash), version: nil)
        do { return try await images.image(record.guid, tag, .oci) } catch {
            switch error {
            case .unknownStack, .nothingPromoted, .noVariant: return nil
            default: throw error
            }
        }
    }
}

extension DropletRecord {
    var json: JSONValue {
        [
            "guid": .string(guid.text), "hash": .string(hash), "sha1": .string(sha1), "size": .integer(size),
            "stack": .string(stack.text), "architecture": .string(architecture.rawValue),
            "mode": .string(mode.rawValue), "uploaded": .string(uploaded.rfc3339), "uploadedBy": .string(uploadedBy),
            "layers": .array(content.layers.map(\.publicJSON)),
        ]
    }
}
