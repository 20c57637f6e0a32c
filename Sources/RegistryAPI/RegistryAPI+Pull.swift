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
    func manifest(_ name: RepositoryName, _ reference: Reference, _ request: Request) async throws -> Response {
        let repository = Repository(name)
        guard repository.isReserved else { return try await pushedManifest(name, reference, request) }
        do {
            let accept = request.headers[values: .accept]
            if let index = try await repository.index(reference, accept: accept, in: images) {
                return answer(index.bytes, index.mediaType, index.digest, reference, request)
            }
            if let image = try await repository.image(reference, MediaTypeFamily(accept: request), in: images) {
                return answer(image.manifest, image.mediaType, image.manifestDigest, reference, request)
            }
            return try await referrerManifest(name, reference, request)
        } catch let derived as ImageError {
            // What is not derived may have been pushed beside it: a signature, an SBOM.
            guard case .manifestUnknown? = RegistryFailure(derived),
                let pushed = try? await pushedManifest(name, reference, request)
            else { throw derived }
            return pushed
        }
    }

    private func answer(
        _ bytes: [UInt8], _ mediaType: MediaType, _ digest: Digest, _ reference: Reference, _ request: Request
    ) -> Response {
        let digest = digest.description
        let tag = EntityTag(digest)
        var headers: HTTPFields = [.contentDigest: digest, .eTag: tag.text]
        if case .tag = reference { headers[.vary] = "Accept" }
        if request.has(tag) { return Response(status: .notModified, headers: headers) }
        return .bytes(bytes, contentType: mediaType.text, headers: headers)
    }

    /// What was pushed beside derived images, else a document about one of them.
    private func referrerManifest(
        _ name: RepositoryName, _ reference: Reference, _ request: Request
    ) async throws -> Response {
        do { return try await pushedManifest(name, reference, request) } catch let error as RegistryError {
            guard error.isUnknown, case .digest(let digest) = reference,
                case .manifest(let referrer)? = try await Repository(name).referrerContent(digest, in: images)
            else { throw error }
            let tag = EntityTag(digest.description)
            let headers: HTTPFields = [.contentDigest: digest.description, .eTag: tag.text]
            if request.has(tag) { return Response(status: .notModified, headers: headers) }
            return .bytes(referrer.manifest, contentType: referrer.descriptor.mediaType.text, headers: headers)
        }
    }

    private func pushedManifest(
        _ name: RepositoryName, _ reference: Reference, _ request: Request
    ) async throws -> Response {
        if request.method == .head { return try await pushedManifestHead(name, reference, request) }
        let manifest = try await registry.manifest(name, reference)
        let digest = manifest.digest.description
        let tag = EntityTag(digest)
        let headers: HTTPFields = [.contentDigest: digest, .eTag: tag.text]
        if request.has(tag) { return Response(status: .notModified, headers: headers) }
        return .bytes(manifest.bytes, contentType: manifest.mediaType, headers: headers)
    }

    /// Reads nothing, and renews the lease: who asks whether something is there is likely to rely on it next.
    private func pushedManifestHead(
        _ name: RepositoryName, _ reference: Reference, _ request: Request
    ) async throws -> Response {
        let (descriptor, mediaType) = try await registry.manifestInfo(name, reference)
        let digest = descriptor.digest.description
        let tag = EntityTag(digest)
        let headers: HTTPFields = [.contentDigest: digest, .eTag: tag.text]
        if request.has(tag) { return Response(status: .notModified, headers: headers) }
        var response = Response(headers: headers)
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
        case .config(let bytes)?, .document(let bytes)?: file = ResponseFile(bytes)
        case .layer?: file = ResponseFile(try await blobs.open(digest).reader)
        case .manifest?, nil:
            if request.method == .head { _ = try await registry.blob(name, digest) }
            file = ResponseFile(try await registry.openBlob(name, digest).reader)
        }
        return .file(
            file, for: request, contentType: MediaType.octetStream.text, tag: EntityTag(digest.description),
            headers: [.contentDigest: digest.description])
    }

    /// Sends a client to the store for a blob's bytes, if that is wanted and the store can. The client asks for its range
    /// there; HEAD is answered here, and so is who has the blob already.
    private func redirect(
        _ name: RepositoryName, _ digest: Digest, _ derived: ImageContent?, _ request: Request
    ) async throws -> Response? {
        guard redirects, request.method == .get else { return nil }
        let tag = EntityTag(digest.description)
        guard !request.has(tag) else { return nil }
        let url: String?
        switch derived {
        case .config?, .document?: return nil
        case .layer?: url = try await blobs.presignedURL(for: digest, lifetime: Self.redirectLifetime)
        case .manifest?, nil:
            url = try await registry.presignedURL(name, digest, lifetime: Self.redirectLifetime)
        }
        guard let url else { return nil }
        return Response(
            status: .temporaryRedirect,
            headers: [
                .location: url, .contentDigest: digest.description, .eTag: tag.text, .cacheControl: "no-store",
            ])
    }

    private func derivedContent(_ name: RepositoryName, _ digest: Digest) async throws -> ImageContent? {
        let repository = Repository(name)
        guard repository.isReserved else { return nil }
        if let content = try await repository.content(digest, in: images) { return content }
        // What was pushed need not be searched for.
        do {
            _ = try await registry.blob(name, digest)
            return nil
        } catch {
            guard error.isUnknown, case .blob(let bytes)? = try await repository.referrerContent(digest, in: images)
            else { return nil }
            return .document(bytes)
        }
    }

    /// "Listing tags": at most `n` of them, those after `last`.
    func tags(_ name: RepositoryName, _ request: Request) async throws -> Response {
        let (count, last) = try paging(request)
        let derived = try await Repository(name).tags(in: images)
        guard let derived else { return answer(try await registry.tags(name, after: last, limit: count), name) }
        // An app's own tags are few; what was pushed beside them is merged in.
        var tags = derived
        var isMore = false
        if try await registry.exists(name) {
            let pushed = try await registry.tags(name, after: last, limit: count)
            isMore = pushed.next != nil
            tags += pushed.elements
            tags = Set(tags).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        }
        if let last { tags = Array(tags.drop { !last.utf8.lexicographicallyPrecedes($0.utf8) }) }
        isMore = isMore || count < tags.count
        tags = Array(tags.prefix(count))
        return answer(Page(elements: tags, next: isMore ? tags.last : nil), name)
    }

    private func answer(_ page: Page<String>, _ name: RepositoryName) -> Response {
        var headers: HTTPFields = [:]
        if let next = page.next { headers[.link] = link("/v2/\(name)/tags/list?n=\(page.elements.count)", next) }
        return .json(
            ["name": .string(name.text), "tags": .array(page.elements.map { .string($0) })], headers: headers)
    }

    /// The repositories that were pushed to and that the user may read.
    func catalog(_ request: Request) async throws -> Response {
        let user = try request.requireUser()
        let (count, last) = try paging(request)
        let page = try await registry.catalog(after: last, limit: count) { user.may(.pull, on: $0.text) }
        let names = page.elements.map(\.text)
        var headers: HTTPFields = [:]
        if page.next != nil, let last = names.last { headers[.link] = link("/v2/_catalog?n=\(count)", last) }
        return .json(["repositories": .array(names.map { .string($0) })], headers: headers)
    }

    private func link(_ target: String, _ last: String) -> String { "<\(target)&last=\(escaped(last))>; rel=\"next\"" }

    /// `n`, bounded, and `last`.
    private func paging(_ request: Request) throws(RegistryFailure) -> (count: Int, last: String?) {
        var count = Registry.maximumPage
        if let text = try query("n", request) {
            guard text.utf8.count < 100, let number = Int(text) ?? Self.huge(text), number >= 0 else {
                throw .paginationInvalid(text)
            }
            count = min(number, count)
        }
        return (count, try query("last", request))
    }

    /// A number that is larger than any: as good as the largest.
    private static func huge(_ text: String) -> Int? {
        !text.isEmpty && text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ? .max : nil
    }

    func query(_ name: String, _ request: Request) throws(RegistryFailure) -> String? {
        do { return try request.query(name) } catch {
            if ["digest", "mount"].contains(name) { throw .digestInvalid(request.queryText) }
            throw .paginationInvalid(request.queryText)
        }
    }
}

/// Percent-escapes what may not stand in a query's value.
func escaped(_ text: String) -> String {
    var result = ""
    for byte in text.utf8 {
        let scalar = Unicode.Scalar(byte)
        if scalar.properties.isAlphabetic && scalar.isASCII || ("0"..."9").contains(scalar)
            || "-._~/".unicodeScalars.contains(scalar)
        {
            result.unicodeScalars.append(scalar)
        } else {
            result += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
        }
    }
    return result
}

extension RegistryError {
    fileprivate var isUnknown: Bool {
        switch self {
        case .unknownManifest, .unknownRepository, .unknownBlob: true
        default: false
        }
    }
}

extension MediaTypeFamily {
    init(accept request: Request) { self.init(accept: request.headers[values: .accept]) }
}
