import HTTPServer
import HTTPTypes
import OCI
import Registry

extension RegistryAPI {
    /// The largest manifest, in bytes.
    private static let maximumManifest: Int64 = 4 << 20

    /// "Pushing Manifests".
    func putManifest(_ name: RepositoryName, _ reference: Reference, _ request: Request) async throws -> Response {
        let tags = try self.tags(request, reference)
        let bytes = try await request.body(maximum: Self.maximumManifest).collect()
        let repository = Repository(name)
        if repository.isReserved { try Self.checkReserved(repository, name, reference, tags, bytes, request) }
        let pushed = try await registry.putManifest(
            name, reference, tags: tags, contentType: request.headers[.contentType], bytes)
        var headers: HTTPFields = [
            .location: "/v2/\(name)/manifests/\(pushed.digest)", .contentDigest: pushed.digest.description,
        ]
        if let subject = pushed.subject { headers[.ociSubject] = subject.description }
        if !tags.isEmpty { headers[.ociTag] = tags.map(\.text).joined(separator: ", ") }
        return Response(status: .created, headers: headers)
    }

    /// The tags that a push by digest sets besides.
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

    /// Derived repositories take what refers to their images, and nothing that could be mistaken for one.
    private static func checkReserved(
        _ repository: Repository, _ name: RepositoryName, _ reference: Reference, _ tags: [Tag], _ bytes: [UInt8],
        _ request: Request
    ) throws {
        let refused = RegistryFailure.denied(
            "'\(name)' is derived from droplets and rootfs versions: only referrers and signature tags are taken")
        guard repository != .nothing, tags.allSatisfy(repository.takes) else { throw refused }
        switch reference {
        case .tag(let tag): guard repository.takes(tag) else { throw refused }
        case .digest:
            guard try Registry.refers(bytes, contentType: request.headers[.contentType]) || !tags.isEmpty else {
                throw refused
            }
        }
    }

    /// "Deleting tags" and "Deleting Manifests".
    func deleteManifest(_ name: RepositoryName, _ reference: Reference) async throws -> Response {
        switch reference {
        case .tag(let tag): try await registry.deleteTag(name, tag)
        case .digest(let digest): try await registry.deleteManifest(name, digest)
        }
        return Response(status: .accepted)
    }

    /// "Deleting Blobs".
    func deleteBlob(_ name: RepositoryName, _ digest: Digest) async throws -> Response {
        try await registry.deleteBlob(name, digest)
        return Response(status: .accepted)
    }
}
