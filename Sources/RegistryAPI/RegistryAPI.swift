public import Blobs
import HTTPTypes
public import Images
import JSON
import OCI
public import Service

/// The routes below `/v2/`: the pull side of the OCI distribution specification, for images that are derived.
public struct RegistryAPI: Sendable {
    private let images: DerivedImages
    private let blobs: BlobStore

    public init(images: DerivedImages, blobs: BlobStore) {
        self.images = images
        self.blobs = blobs
    }

    public var routes: Routes {
        var routes = Routes(errors: RegistryErrors())
        routes.on(nil, "/v2/**", access: .role(.pull), execution: .eventLoop) { request in
            var response = try await answer(to: request)
            response.headers[.distributionVersion] = "registry/2.0"
            return response
        }
        return routes
    }

    private func answer(to request: Request) async throws -> Response {
        guard request.method == .get || request.method == .head else {
            throw RegistryFailure.unsupported("this registry can only be pulled from")
        }
        let route = try RegistryRoute(path: request.path)
        // A tag's image is in memory, or made in microseconds: changing threads would cost more than the answer.
        if case .manifest(_, .tag) = route { return try await answer(to: request, for: route) }
        return try await withTaskExecutorPreference(globalConcurrentExecutor) {
            try await answer(to: request, for: route)
        }
    }

    private func answer(to request: Request, for route: RegistryRoute) async throws -> Response {
        switch route {
        case .ping: return .json([:])
        case .manifest(let name, let reference): return try await manifest(name, reference, request)
        case .blob(let name, let digest): return try await blob(name, digest, request)
        case .tags(let name): return try await tags(name, request)
        }
    }

    /// "Pulling manifests".
    private func manifest(_ name: RepositoryName, _ reference: Reference, _ request: Request) async throws -> Response {
        let family = MediaTypeFamily(accept: request.headers[values: .accept])
        guard let image = try await Repository(name).image(reference, family, in: images) else {
            throw RegistryFailure.manifestUnknown("the repository '\(name)' has no manifest \(reference)")
        }
        let digest = image.manifestDigest.description
        let tag = EntityTag(digest)
        var headers: HTTPFields = [.contentDigest: digest, .eTag: tag.text]
        if case .tag = reference { headers[.vary] = "Accept" }
        if request.has(tag) { return Response(status: .notModified, headers: headers) }
        return .bytes(image.manifest, contentType: image.mediaType.text, headers: headers)
    }

    /// "Pulling blobs".
    private func blob(_ name: RepositoryName, _ digest: Digest, _ request: Request) async throws -> Response {
        let file: ResponseFile
        switch try await Repository(name).content(digest, in: images) {
        case .config(let bytes)?: file = ResponseFile(bytes)
        case .layer?: file = ResponseFile(try await blobs.open(digest).reader)
        case .manifest?, nil: throw RegistryFailure.blobUnknown(digest)
        }
        return .file(
            file, for: request, contentType: MediaType.octetStream.text, tag: EntityTag(digest.description),
            headers: [.contentDigest: digest.description])
    }

    /// "Listing tags": at most `n` of them, those after `last`.
    private func tags(_ name: RepositoryName, _ request: Request) async throws -> Response {
        var tags = try await Repository(name).tags(in: images)
        if let last = try query("last", request) {
            tags = Array(tags.drop { !last.utf8.lexicographicallyPrecedes($0.utf8) })
        }
        var headers: HTTPFields = [:]
        if let text = try query("n", request) {
            guard let count = Int(text), count >= 0 else { throw RegistryFailure.paginationInvalid(text) }
            if count < tags.count {
                tags = Array(tags.prefix(count))
                if let last = tags.last {
                    headers[.link] = "</v2/\(name)/tags/list?n=\(count)&last=\(last)>; rel=\"next\""
                }
            }
        }
        return .json(["name": .string(name.text), "tags": .array(tags.map { .string($0) })], headers: headers)
    }

    private func query(_ name: String, _ request: Request) throws(RegistryFailure) -> String? {
        do { return try request.query(name) } catch { throw .paginationInvalid(request.queryText) }
    }
}

extension HTTPField.Name {
    static let contentDigest = HTTPField.Name("Docker-Content-Digest") ?? .contentType
    static let distributionVersion = HTTPField.Name("Docker-Distribution-Api-Version") ?? .contentType
    static let link = HTTPField.Name("Link") ?? .contentType
}
