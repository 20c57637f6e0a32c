public import Blobs
public import HTTPServer
import HTTPTypes
import Identity
public import Images
import JSON
import OCI
public import Registry

/// The routes below `/v2/`: the OCI distribution specification, for derived images and pushed content.
public struct RegistryAPI: Sendable {
    let images: DerivedImages
    let registry: Registry
    let uploads: UploadSessions
    let blobs: BlobStore
    let redirects: Bool
    private let tokens: TokenRealm?

    /// How long a URL of the store is valid: a transfer has to begin in this time.
    static let redirectLifetime: Duration = .seconds(900)

    /// - Parameters:
    ///   - redirects: whether clients are redirected to the store for blobs, if the store offers URLs.
    ///   - tokens: where clients get tokens; nil: nowhere.
    public init(
        images: DerivedImages, registry: Registry, uploads: UploadSessions, blobs: BlobStore, redirects: Bool = false,
        tokens: TokenRealm? = nil
    ) {
        self.redirects = redirects
        self.tokens = tokens
        self.images = images
        self.registry = registry
        self.uploads = uploads
        self.blobs = blobs
    }

    public var routes: Routes {
        var routes = Routes(errors: RegistryErrors(tokens: tokens))
        routes.on(nil, "/v2/**", execution: .eventLoop) { request in
            var response = try await answer(to: request)
            response.headers[.distributionVersion] = "registry/2.0"
            return response
        }
        return routes
    }

    private func answer(to request: Request) async throws -> Response {
        let route: RegistryRoute
        do throws(RegistryFailure) { route = try RegistryRoute(path: request.path) } catch {
            // An anonymous client has to authenticate first, even if the path is malformed.
            if request.principal == nil { try request.requireUser() }
            throw error
        }
        // The image of a tag is cached or composed within microseconds, so that changing threads would cost more.
        if case .manifest(_, .tag) = route, request.method == .get || request.method == .head {
            return try await answer(to: request, for: route)
        }
        return try await withTaskExecutorPreference(globalConcurrentExecutor) {
            try await answer(to: request, for: route)
        }
    }

    private func answer(to request: Request, for route: RegistryRoute) async throws -> Response {
        try authorise(request, route)
        return switch (route, request.method) {
        case (.ping, _): .json([:])
        case (.manifest(let name, let reference), .put): try await putManifest(name, reference, request)
        case (.manifest(let name, let reference), .delete): try await deleteManifest(name, reference)
        case (.manifest(let name, let reference), _): try await manifest(name, reference, request)
        case (.blob(let name, let digest), .delete): try await deleteBlob(name, digest)
        case (.blob(let name, let digest), _): try await blob(name, digest, request)
        case (.uploads(let name), _): try await beginUpload(name, request)
        case (.upload(let name, let id), _): try await upload(name, id, request)
        case (.tags(let name), _): try await tags(name, request)
        case (.referrers(let name, let digest), _): try await referrers(name, digest, request)
        case (.catalog, _): try await catalog(request)
        }
    }

    /// The rows of the access table for each endpoint, which tell the roles that its methods require.
    private static let rights = Dictionary(
        uniqueKeysWithValues: RegistryRoute.Endpoint.allCases.map { endpoint in
            (endpoint, AccessTable.cistern.rows.filter { $0.pattern == endpoint.rawValue })
        })

    /// Checks the user's rights by the table of roles and routes. To a user who may read other repositories, one that
    /// the user may not read looks nonexistent; an anonymous client has to authenticate before it learns what exists, and
    /// one whose token grants too little to fetch another.
    private func authorise(_ request: Request, _ route: RegistryRoute) throws {
        let rows = Self.rights[route.endpoint] ?? []
        let method = request.method == .head ? "GET" : request.method.rawValue
        guard let access = rows.first(where: { $0.method == method })?.access else {
            try request.requireUser()
            let allowed = rows.flatMap { $0.method == "GET" ? ["GET", "HEAD"] : [$0.method] }
                .joined(separator: ", ")
            throw RegistryFailure.unsupported("this can't be done here; there are \(allowed)", allow: allowed)
        }
        do {
            try request.require(access, on: route.repository?.text)
        } catch {
            guard case .repository(.pull, _) = access, error.status == .forbidden,
                request.principal?.holdsSomewhere(.pull) ?? false
            else { throw error }
            throw route.missing
        }
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
