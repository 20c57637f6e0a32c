public import Blobs
public import HTTPServer
import HTTPTypes
import Identity
public import Images
import JSON
import OCI
import Packages
public import Registry

/// The routes below `/v2/`: the OCI distribution specification, for images that are derived and for what is pushed.
public struct RegistryAPI: Sendable {
    let images: DerivedImages
    let registry: Registry
    let uploads: UploadSessions
    let blobs: BlobStore
    let redirects: Bool

    /// How long a URL of the store is good for: the time in which a transfer has to begin.
    static let redirectLifetime: Duration = .seconds(900)

    /// - Parameter redirects: blobs are fetched from the store itself, where it can give URLs for that.
    public init(
        images: DerivedImages, registry: Registry, uploads: UploadSessions, blobs: BlobStore, redirects: Bool = false
    ) {
        self.redirects = redirects
        self.images = images
        self.registry = registry
        self.uploads = uploads
        self.blobs = blobs
    }

    public var routes: Routes {
        var routes = Routes(errors: RegistryErrors())
        routes.on(nil, "/v2/**", access: .anonymous, execution: .eventLoop) { request in
            var response = try await answer(to: request)
            response.headers[.distributionVersion] = "registry/2.0"
            return response
        }
        return routes
    }

    private func answer(to request: Request) async throws -> Response {
        let route: RegistryRoute
        do throws(RegistryFailure) { route = try RegistryRoute(path: request.path) } catch {
            // Strangers learn nothing about what is well formed.
            if request.principal == nil { try request.requireUser() }
            throw error
        }
        // A tag's image is in memory, or made in microseconds: changing threads would cost more than the answer.
        if case .manifest(_, .tag) = route, request.method == .get || request.method == .head {
            return try await answer(to: request, for: route)
        }
        return try await withTaskExecutorPreference(globalConcurrentExecutor) {
            try await answer(to: request, for: route)
        }
    }

    private func answer(to request: Request, for route: RegistryRoute) async throws -> Response {
        let method = request.method
        let reads = method == .get || method == .head
        switch route {
        case .ping:
            try request.requireUser()
            guard reads else { throw try Self.unsupported("GET, HEAD", request) }
            return .json([:])
        case .manifest(let name, let reference):
            switch method {
            case .get, .head: return try await manifest(name, reference, request)
            case .put: return try await putManifest(name, reference, request)
            case .delete: return try await deleteManifest(name, reference, request)
            default: throw try Self.unsupported("GET, HEAD, PUT, DELETE", request)
            }
        case .blob(let name, let digest):
            switch method {
            case .get, .head: return try await blob(name, digest, request)
            case .delete: return try await deleteBlob(name, digest, request)
            default: throw try Self.unsupported("GET, HEAD, DELETE", request)
            }
        case .uploads(let name):
            guard method == .post else { throw try Self.unsupported("POST", request) }
            return try await beginUpload(name, request)
        case .upload(let name, let id): return try await upload(name, id, request)
        case .tags(let name):
            guard reads else { throw try Self.unsupported("GET, HEAD", request) }
            return try await tags(name, request)
        case .referrers(let name, let digest):
            guard reads else { throw try Self.unsupported("GET, HEAD", request) }
            return try await referrers(name, digest, request)
        case .catalog:
            guard reads else { throw try Self.unsupported("GET, HEAD", request) }
            return try await catalog(request)
        }
    }

    /// Strangers are asked who they are before they learn what there is.
    private static func unsupported(_ allow: String, _ request: Request) throws -> RegistryFailure {
        try request.requireUser()
        return .unsupported("this can't be done here; there are \(allow)", allow: allow)
    }
}

extension Request {
    /// Asks for the right to read a repository. To users who may read others, one that they may not read is as if it
    /// were not there.
    func requirePull(_ name: RepositoryName, missing: @autoclosure () -> RegistryFailure) throws {
        guard !may(.pull, on: name.text) else { return }
        guard try requireUser().maySomewhere(.pull) else { return try require(.pull, on: name.text) }
        throw missing()
    }
}

extension HTTPField.Name {
    static let contentDigest = HTTPField.Name("Docker-Content-Digest") ?? .contentType
    static let distributionVersion = HTTPField.Name("Docker-Distribution-Api-Version") ?? .contentType
    static let link = HTTPField.Name("Link") ?? .contentType
    static let ociSubject = HTTPField.Name("OCI-Subject") ?? .contentType
    static let ociTag = HTTPField.Name("OCI-Tag") ?? .contentType
    static let ociFiltersApplied = HTTPField.Name("OCI-Filters-Applied") ?? .contentType
    static let ociChunkMinLength = HTTPField.Name("OCI-Chunk-Min-Length") ?? .contentType
    static let uploadUUID = HTTPField.Name("Docker-Upload-UUID") ?? .contentType
}
