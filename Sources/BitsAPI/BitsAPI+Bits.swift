import Bits
import Blobs
import Foundation
import HTTPServer
import HTTPTypes
import Identity
import JSON
import OCI
import Runtime

extension BitsAPI {
    /// Adds the routes of packages, buildpacks and build caches.
    func addBitsRoutes(to routes: inout Routes) {
        addRoutes(to: &routes, "/packages/:guid", ["package", "bits"]) { request throws(BitsError) in
            try BitsName(.packages, request.parameters["guid"])
        }
        addRoutes(to: &routes, "/buildpacks/:guid", ["buildpack", "bits"]) { request throws(BitsError) in
            try BitsName(.buildpacks, request.parameters["guid"])
        }
        addRoutes(
            to: &routes, "/buildpack_cache/entries/:guid/:stack", ["buildpack_cache", "bits"]
        ) { request throws(BitsError) in
            try BitsName(cacheOf: request.parameters["guid"], stack: request.parameters["stack"])
        }
        routes.delete("/buildpack_cache/entries/:guid") { request in
            try await bits.removeCaches(of: request.parameters["guid"])
            return Response(status: .noContent)
        }
        routes.delete("/buildpack_cache/entries") { _ in
            try await bits.removeCaches(of: nil)
            return Response(status: .noContent)
        }
        routes.on(.post, "/buildpacks") { request in
            let name = try BitsName(.buildpacks, UUID().uuidString.lowercased())
            return try await take(request, as: name, ["buildpack", "bits"])
        }
        routes.get("/buildpacks") { _ in
            .json(["buildpacks": .array(try await bits.buildpacks().map(\.document))])
        }
        routes.get("/buildpacks/:guid/metadata") { request in
            .json(try await bits.find(try BitsName(.buildpacks, request.parameters["guid"])).document)
        }
    }

    private func addRoutes(
        to routes: inout Routes, _ pattern: RoutePattern, _ fields: Set<String>,
        _ name: @escaping @Sendable (Request) throws(BitsError) -> BitsName
    ) {
        routes.put(pattern) { request in try await take(request, as: try name(request), fields) }
        routes.get(pattern) { request in
            let record = try await bits.find(try name(request))
            return .file(
                ResponseFile(try await bits.open(record).reader), for: request,
                contentType: record.name.kind == .caches ? "application/octet-stream" : "application/zip",
                tag: EntityTag(record.digest.description))
        }
        routes.delete(pattern) { request in
            try await bits.remove(try name(request))
            return Response(status: .noContent)
        }
    }

    /// Takes bits in, from the body or from a form's field; or copies those that the body names.
    private func take(_ request: Request, as name: BitsName, _ fields: Set<String>) async throws -> Response {
        let user = request.principal?.name ?? ""
        let texts = name.kind == .packages ? FormTexts(["resources"], maximum: Self.maximumList) : nil
        switch try await UploadedBits(request, maximum: settings.maximumDroplet, fields, texts: texts) {
        case .copy(let source):
            return .json(try await bits.copy(try name.sibling(source), to: name, by: user).document, status: .created)
        case .bytes(let bytes): return try await take(request, as: name, bytes, length: bytes.length, nil)
        case .file(let file): return try await take(request, as: name, file, length: file.length, texts)
        }
    }

    private func take<Source: AsyncSequence & Sendable>(
        _ request: Request, as name: BitsName, _ source: Source, length: Int64?, _ texts: FormTexts?
    ) async throws -> Response where Source.Element == [UInt8] {
        let upload = BitsUpload(
            name: name, checksum: try request.headers[.digest].map { try Checksum(digestHeader: $0) },
            by: request.principal?.name ?? "", length: length,
            buildpack: name.kind == .buildpacks ? try BuildpackFacts(request) : BuildpackFacts())
        let resources: () throws(BitsError) -> [StashedFile]? = { () throws(BitsError) in
            try texts?["resources"].map { (bytes) throws(BitsError) in
                try StashedFile.list(try? JSONValue(parsing: bytes))
            }
        }
        guard try request.isAsynchronous else {
            let record = try await bits.upload(upload, from: source, resources: resources)
            return .json(record.document, status: .created)
        }
        return processing(try await bits.accept(upload, from: source, resources: resources))
    }

    /// The answer to an upload whose outcome the controller will be told.
    func processing(_ job: BitsJob) -> Response {
        uploads.wake()
        return .json(
            [
                "guid": .string(job.guid), "state": "PROCESSING_UPLOAD", "type": "bits",
                "created_at": .string(Timestamp(nanoseconds: job.begun).rfc3339),
            ], status: .accepted)
    }

}

extension Request {
    /// Whether the client does not wait for the outcome: `?async=true`.
    var isAsynchronous: Bool {
        get throws(HTTPFailure) { try query("async") == "true" }
    }
}

extension BitsName {
    /// Another name of the same kind. A build cache is named by its guid and stack, or by its guid alone, for the same
    /// stack.
    fileprivate func sibling(_ path: String) throws(BitsError) -> BitsName {
        guard kind == .caches else { return try BitsName(kind, path) }
        let parts = path.split(separator: "/", maxSplits: 1).map(String.init)
        return try BitsName(cacheOf: parts.first ?? "", stack: parts.count == 2 ? parts[1] : stack ?? "")
    }
}

extension BitsRecord {
    /// What clients are told of it.
    fileprivate var document: JSONValue {
        var members = readyBits(name.guid, uploaded, sha1: sha1, sha256: digest.hex)
        if let buildpack { members.merge(buildpack.members) { own, _ in own } }
        return .object(members)
    }
}

extension BuildpackFacts {
    /// The longest name, in bytes.
    private static let maximumName = 256

    /// What the query says of a buildpack: `name`, `position` and `enabled`.
    fileprivate init(_ request: Request) throws(HTTPFailure) {
        self.init(name: try request.query("name"))
        if let name, !(1...Self.maximumName).contains(name.utf8.count) {
            throw HTTPFailure(.badRequest, "a buildpack's name has 1 to \(Self.maximumName) bytes")
        }
        if let text = try request.query("position") {
            guard let position = Int(text), (1...1_000_000).contains(position) else {
                throw HTTPFailure(.badRequest, "a buildpack's position is a number from 1 on")
            }
            self.position = position
        }
        if let text = try request.query("enabled") {
            guard let isEnabled = Bool(text) else { throw HTTPFailure(.badRequest, "enabled is true or false") }
            self.isEnabled = isEnabled
        }
    }
}
