import Blobs
import HTTPServer
import HTTPTypes
import Identity
import Images
import JSON
import OCI
import Registry
import Rootfs

extension RegistryAPI {
    /// "Pulling manifests".
    ///
    /// A repository of derived images is searched in this order: derived images, manifests pushed beside them
    /// (signatures, SBOMs), documents about derived images. The last search comes last since an unknown digest costs
    /// most there.
    func manifest(_ name: RepositoryName, _ reference: Reference, _ request: Request) async throws -> Response {
        guard let repository = DerivedRepository(name, in: images) else {
            return try await pushedManifest(name, reference, request)
        }
        do {
            let accepted = AcceptedFamilies(accept: request.headers[values: .accept])
            if let manifest = try await repository.manifest(reference, accepted) {
                return answer(manifest, reference, request)
            }
            return try await pushedManifestOrReferrer(repository, name, reference, request)
        } catch let derived as ImageError {
            guard case .manifestUnknown? = RegistryFailure(derived),
                let pushed = try? await pushedManifest(name, reference, request)
            else { throw derived }
            return pushed
        }
    }

    private func answer(_ manifest: DerivedManifest, _ reference: Reference, _ request: Request) -> Response {
        var headers = headers(manifest.digest)
        // By tag the manifest's media types depend on what the client accepts.
        if case .tag = reference { headers.fields[.vary] = "Accept" }
        return answer(manifest.bytes, manifest.mediaType.text, headers, request)
    }

    private func pushedManifestOrReferrer(
        _ repository: DerivedRepository, _ name: RepositoryName, _ reference: Reference, _ request: Request
    ) async throws -> Response {
        do { return try await pushedManifest(name, reference, request) } catch let error as RegistryError {
            guard error.isUnknown, case .digest(let digest) = reference,
                case .manifest(let referrer)? = try await repository.referrerContent(digest)
            else { throw error }
            return answer(
                referrer.manifest, referrer.descriptor.mediaType.text, headers(referrer.descriptor.digest), request)
        }
    }

    private func pushedManifest(
        _ name: RepositoryName, _ reference: Reference, _ request: Request
    ) async throws -> Response {
        if request.method == .head { return try await pushedManifestHead(name, reference, request) }
        let manifest = try await registry.manifest(name, reference)
        return answer(manifest.bytes, manifest.mediaType, headers(manifest.digest), request)
    }

    private func headers(_ digest: Digest) -> (fields: HTTPFields, tag: EntityTag) {
        let digest = digest.description
        let tag = EntityTag(digest)
        return ([.contentDigest: digest, .eTag: tag.text], tag)
    }

    private func answer(
        _ bytes: [UInt8], _ mediaType: String, _ headers: (fields: HTTPFields, tag: EntityTag), _ request: Request
    ) -> Response {
        if request.has(headers.tag) { return Response(status: .notModified, headers: headers.fields) }
        return .bytes(bytes, contentType: mediaType, headers: headers.fields)
    }

    /// Answers without reading the manifest, and renews its lease, since the client is likely to rely on the manifest
    /// next.
    private func pushedManifestHead(
        _ name: RepositoryName, _ reference: Reference, _ request: Request
    ) async throws -> Response {
        let (descriptor, mediaType) = try await registry.manifestInfo(name, reference)
        let headers = headers(descriptor.digest)
        if request.has(headers.tag) { return Response(status: .notModified, headers: headers.fields) }
        var response = Response(headers: headers.fields)
        response.headers[.contentType] = mediaType
        response.headers[.contentLength] = String(descriptor.size)
        return response
    }

    /// "Pulling blobs".
    func blob(_ name: RepositoryName, _ digest: Digest, _ request: Request) async throws -> Response {
        let file: ResponseFile
        let derived = try await derivedContent(name, digest)
        if let redirect = try await redirect(name, digest, derived, request) { return redirect }
        switch derived {
        case .document(let bytes)?: file = ResponseFile(bytes)
        case .layer?: file = ResponseFile(try await blobs.open(digest, isRead: request.method != .head).reader)
        case nil:
            if request.method == .head { _ = try await registry.blob(name, digest) }
            file = ResponseFile(try await registry.openBlob(name, digest, isRead: request.method != .head).reader)
        }
        return .file(
            file, for: request, contentType: MediaType.octetStream.text, tag: EntityTag(digest.description),
            headers: [.contentDigest: digest.description])
    }

    /// Redirects a client to the store for a blob's bytes, if redirects are configured and the store offers URLs; else
    /// nil. The client repeats its Range header there. HEAD requests and clients that have the blob already are
    /// answered here.
    private func redirect(
        _ name: RepositoryName, _ digest: Digest, _ derived: DerivedContent?, _ request: Request
    ) async throws -> Response? {
        guard redirects, request.method == .get else { return nil }
        let tag = EntityTag(digest.description)
        guard !request.has(tag) else { return nil }
        let url: String?
        switch derived {
        case .document?: return nil
        case .layer?: url = try await blobs.presignedURL(for: digest, lifetime: Self.redirectLifetime)
        case nil:
            url = try await registry.presignedURL(name, digest, lifetime: Self.redirectLifetime)
        }
        guard let url else { return nil }
        return Response(
            status: .temporaryRedirect,
            headers: [
                .location: url, .contentDigest: digest.description, .eTag: tag.text, .cacheControl: "no-store",
            ])
    }

    func derivedContent(_ name: RepositoryName, _ digest: Digest) async throws -> DerivedContent? {
        guard let repository = DerivedRepository(name, in: images) else { return nil }
        if let content = try await repository.content(digest) { return content }
        // A pushed blob is found first, because the search among the documents about images costs most.
        do {
            _ = try await registry.blob(name, digest)
            return nil
        } catch {
            guard error.isUnknown, case .blob(let bytes)? = try await repository.referrerContent(digest) else {
                return nil
            }
            return .document(bytes)
        }
    }
}

extension RegistryError {
    fileprivate var isUnknown: Bool {
        switch self {
        case .unknownManifest, .unknownRepository, .unknownBlob: true
        default: false
        }
    }
}
