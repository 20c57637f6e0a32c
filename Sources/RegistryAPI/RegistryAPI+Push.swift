import Blobs
import HTTPServer
import HTTPTypes
import Identity
import Images
import OCI
import Registry

// Blobs.
extension RegistryAPI {
    /// "Pushing blobs" and "Mounting a blob from another repository".
    func beginUpload(_ name: RepositoryName, _ request: Request) async throws -> Response {
        let owner = try owner(of: name, request)
        if name.isReserved { _ = try await existing(name) }
        if let text = try query("mount", request) {
            if let blob = try await mounted(try parsed(text), name, request) { return created(blob, name) }
        } else if let text = try query("digest", request) {
            let digest = try parsed(text)
            let body = try request.body(maximum: uploads.limits.size)
            // A client may name the digest in a POST without a body and send the bytes later: that begins an upload.
            if body.length != 0 || digest == Digest.of([], digest.algorithm) {
                return created(
                    try await uploads.take(
                        owner, body, length: body.length, as: digest, usesReserve: request.may(.operator, on: name.text)
                    ),
                    name)
            }
        }
        var algorithm = DigestAlgorithm.sha256
        if let text = try query("digest-algorithm", request) {
            guard let known = DigestAlgorithm(rawValue: text) else {
                throw RegistryFailure.digestInvalid("\(OCIError.digest(text + ":"))")
            }
            algorithm = known
        }
        let id = try uploads.begin(owner, algorithm, usesReserve: request.may(.operator, on: name.text))
        return accepted(id, name, received: 0, isNew: true)
    }

    /// Mounts a blob from the repository `from`, which may be one of derived images. Without `from` the blob is not
    /// searched for, since the user's rights would have to be checked for each repository that has it.
    private func mounted(_ digest: Digest, _ name: RepositoryName, _ request: Request) async throws -> Blob? {
        guard let text = try query("from", request), let source = try? RepositoryName(parsing: text),
            request.may(.pull, on: source.text)
        else { return nil }
        return switch try await derivedContent(source, digest) {
        case .document(let bytes)?: try await registry.put(bytes, as: digest, to: name)
        case .layer?: try await registry.link(digest, to: name)
        case nil: try await registry.mount(digest, from: source, to: name)
        }
    }

    /// Answers a request about an upload under way.
    func upload(_ name: RepositoryName, _ id: UploadID?, _ request: Request) async throws -> Response {
        do { return try await answer(name, id, request) } catch RegistryError.outOfOrder(let received) {
            throw RegistryFailure.outOfOrder(received: received, location: request.path)
        }
    }

    private func answer(_ name: RepositoryName, _ id: UploadID?, _ request: Request) async throws -> Response {
        let owner = try owner(of: name, request)
        guard let id else { throw RegistryFailure.uploadUnknown }
        switch request.method {
        case .get, .head:
            var response = accepted(id, name, received: try uploads.received(id, owner))
            response.status = .noContent
            return response
        case .patch:
            let body = try request.body(maximum: uploads.limits.size)
            let received = try await uploads.append(id, owner, try chunk(of: request, body), body, length: body.length)
            return accepted(id, name, received: received)
        case .put:
            guard let text = try query("digest", request) else {
                throw RegistryFailure.digestInvalid("the digest is missing: the upload is closed with ?digest=sha256:…")
            }
            let digest = try parsed(text)
            let body = try request.body(maximum: uploads.limits.size)
            let range = body.length == 0 ? nil : try chunk(of: request, body)
            return created(try await uploads.finish(id, owner, range, body, length: body.length, as: digest), name)
        case .delete:
            try await uploads.cancel(id, owner)
            return Response(status: .noContent)
        default: throw RegistryFailure.unknownEndpoint
        }
    }

    private func owner(of name: RepositoryName, _ request: Request) throws -> UploadOwner {
        guard !DerivedRepository.isUnassigned(name) else {
            throw RegistryFailure.denied("the name '\(name)' is reserved")
        }
        return UploadOwner(repository: name, user: try request.requireUser().name)
    }

    /// The position of a chunk, as the sender states it: `Content-Range: <first>-<last>`. nil without that header.
    private func chunk(of request: Request, _ body: RequestBody) throws(RegistryFailure) -> Range<Int64>? {
        guard let text = request.headers[.contentRange] else { return nil }
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ $0.utf8.count <= 18 && $0.utf8.allSatisfy(isDigit) }),
            let first = Int64(parts[0]), let last = Int64(parts[1]), first <= last
        else { throw .uploadInvalid("the Content-Range is not '<first byte>-<last byte>'") }
        if let length = body.length, length != last - first + 1 {
            throw .sizeInvalid("the Content-Length is \(length) and the Content-Range has \(last - first + 1) bytes")
        }
        return first..<(last + 1)
    }

    private func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    private func parsed(_ text: String) throws(RegistryFailure) -> Digest {
        do { return try Digest(parsing: text) } catch { throw .digestInvalid("\(error)") }
    }

    private func accepted(
        _ id: UploadID, _ name: RepositoryName, received: Int64, isNew: Bool = false
    ) -> Response {
        var headers: HTTPFields = [
            .location: "/v2/\(name)/blobs/uploads/\(id)", .range: receivedRange(received), .uploadUUID: id.text,
        ]
        // Any chunk size is accepted.
        if isNew { headers[.ociChunkMinLength] = "1" }
        return Response(status: .accepted, headers: headers)
    }

    private func created(_ blob: Blob, _ name: RepositoryName) -> Response {
        Response(
            status: .created,
            headers: [.location: "/v2/\(name)/blobs/\(blob.digest)", .contentDigest: blob.digest.description])
    }
}

// Manifests, and deletions.
extension RegistryAPI {
    /// The largest manifest, in bytes.
    private static let maximumManifest: Int64 = 4 << 20

    /// "Pushing Manifests".
    func putManifest(_ name: RepositoryName, _ reference: Reference, _ request: Request) async throws -> Response {
        let tags = try self.tags(request, reference)
        let digest = try self.digest(request, reference)
        if name.isReserved { try await checkReserved(name, reference, tags) }
        let bytes = try await request.body(maximum: Self.maximumManifest).collect()
        let manifest = try await ParsedManifest(
            bytes, as: digest.map { .digest($0) } ?? reference, contentType: request.headers[.contentType])
        var allTags = tags
        if case .tag(let tag) = reference {
            allTags.append(tag)
        } else if name.isReserved, tags.isEmpty, manifest.subject == nil {
            throw Self.derived(name)
        }
        let pushed = try await registry.putManifest(name, tags: allTags, manifest)
        var headers: HTTPFields = [
            .location: "/v2/\(name)/manifests/\(pushed.digest)", .contentDigest: pushed.digest.description,
        ]
        if let subject = pushed.subject { headers[.ociSubject] = subject.description }
        if !tags.isEmpty { headers[.ociTag] = tags.map(\.text).joined(separator: ", ") }
        return Response(status: .created, headers: headers)
    }

    /// The additional tags that a push by digest sets (`tag` in the query).
    private func tags(_ request: Request, _ reference: Reference) throws -> [Tag] {
        var tags: [Tag] = []
        for text in try request.queries("tag") {
            guard case .digest = reference else {
                throw RegistryFailure.manifestInvalid("more tags can only be given with a push by digest")
            }
            do { tags.append(try Tag(parsing: text)) } catch { throw RegistryFailure.tagInvalid(text) }
        }
        guard tags.count <= Registry.maximumTags else {
            throw HTTPFailure(.uriTooLong, "at most \(Registry.maximumTags) tags are taken", code: "UNSUPPORTED")
        }
        return tags
    }

    /// The digest that a push states besides a tag or a digest (`digest` in the query): the bytes must have it.
    private func digest(_ request: Request, _ reference: Reference) throws -> Digest? {
        var stated: Digest?
        if case .digest(let digest) = reference { stated = digest }
        let texts: [String]
        do { texts = try request.queries("digest") } catch { throw RegistryFailure.digestInvalid(request.queryText) }
        for text in texts {
            let digest = try parsed(text)
            guard digest == stated ?? digest else { throw RegistryFailure.digestInvalid(text) }
            stated = digest
        }
        return stated
    }

    /// Checks a push to a repository of derived images: only referrers of its images and signature tags are taken, and
    /// nothing that could be mistaken for a derived image.
    private func checkReserved(_ name: RepositoryName, _ reference: Reference, _ tags: [Tag]) async throws {
        let repository = try await existing(name)
        var all = tags
        if case .tag(let tag) = reference { all.append(tag) }
        guard all.allSatisfy(repository.takes) else { throw Self.derived(name) }
    }

    private static func derived(_ name: RepositoryName) -> RegistryFailure {
        .denied("'\(name)' is derived from droplets and rootfs versions: only referrers and signature tags are taken")
    }

    /// The repository of derived images that takes what refers to them.
    /// - Throws: 403 if nothing is derived there, so that there is nothing to refer to: the first blob of a push that
    ///   can't end well is refused, and not its manifest.
    func existing(_ name: RepositoryName) async throws -> DerivedRepository {
        guard let repository = DerivedRepository(name, in: images) else {
            throw RegistryFailure.denied("the name '\(name)' is reserved")
        }
        guard try await repository.exists else {
            throw RegistryFailure.denied(
                "'\(name)' has no image, and images can't be pushed here: upload a droplet (`cistern droplet upload`), "
                    + "or push to a name that does not begin with cloudfoundry/ or cistern/")
        }
        return repository
    }

    /// "Deleting tags" and "Deleting Manifests".
    func deleteManifest(_ name: RepositoryName, _ reference: Reference) async throws -> Response {
        do throws(RegistryError) {
            switch reference {
            case .tag(let tag): try await registry.deleteTag(name, tag)
            case .digest(let digest): try await registry.deleteManifest(name, digest)
            }
        } catch {
            guard case .unknownManifest = error, let repository = DerivedRepository(name, in: images) else {
                throw error
            }
            let origin: DerivedOrigin?
            do { origin = try await repository.derivedOrigin(of: reference) } catch let derived {
                guard case .manifestUnknown? = RegistryFailure(derived) else { throw derived }
                throw error
            }
            guard let origin else { throw error }
            throw Self.undeletable(origin)
        }
        return Response(status: .accepted)
    }

    /// "Deleting Blobs".
    func deleteBlob(_ name: RepositoryName, _ digest: Digest) async throws -> Response {
        do throws(RegistryError) { try await registry.deleteBlob(name, digest) } catch {
            guard case .unknownBlob = error, let repository = DerivedRepository(name, in: images),
                let origin = try await repository.derivedOrigin(ofBlob: digest)
            else { throw error }
            throw Self.undeletable(origin)
        }
        return Response(status: .accepted)
    }

    private static func undeletable(_ origin: DerivedOrigin) -> RegistryFailure {
        .unsupported("this is derived and can't be deleted by itself: it goes with \(origin)", allow: "GET, HEAD")
    }
}
