import OCI
import Registry

/// The endpoint that a path below `/v2/` names (OCI distribution specification, "Endpoints").
enum RegistryRoute: Hashable {
    /// end-1
    case ping
    /// end-3; end-7 by PUT and end-9 by DELETE
    case manifest(RepositoryName, Reference)
    /// The same with a text that is neither a tag nor a digest: no manifest can have it, and none can be pushed under it.
    case noManifest(RepositoryName, String)
    /// end-2, and end-10 by DELETE
    case blob(RepositoryName, Digest)
    /// end-4a, end-4b, end-4c, end-11
    case uploads(RepositoryName)
    /// end-5, end-6, end-13, end-14. The id is nil if it can't be an upload's.
    case upload(RepositoryName, UploadID?)
    /// end-8a, end-8b
    case tags(RepositoryName)
    /// end-12a, end-12b
    case referrers(RepositoryName, Digest)
    /// All repositories. Not part of the specification, but clients use it.
    case catalog

    /// The endpoints, by their patterns in the table of roles and routes.
    enum Endpoint: String, CaseIterable {
        case ping = "/v2/"
        case manifest = "/v2/:name/manifests/:reference"
        case blob = "/v2/:name/blobs/:digest"
        case uploads = "/v2/:name/blobs/uploads/"
        case upload = "/v2/:name/blobs/uploads/:id"
        case tags = "/v2/:name/tags/list"
        case referrers = "/v2/:name/referrers/:digest"
        case catalog = "/v2/_catalog"
    }

    var endpoint: Endpoint {
        switch self {
        case .ping: .ping
        case .manifest, .noManifest: .manifest
        case .blob: .blob
        case .uploads: .uploads
        case .upload: .upload
        case .tags: .tags
        case .referrers: .referrers
        case .catalog: .catalog
        }
    }

    var repository: RepositoryName? {
        switch self {
        case .ping, .catalog: nil
        case .manifest(let name, _), .noManifest(let name, _), .blob(let name, _), .uploads(let name),
            .upload(let name, _), .tags(let name), .referrers(let name, _):
            name
        }
    }

    /// The answer if the user may not know whether it exists.
    var missing: RegistryFailure {
        switch self {
        case .manifest(let name, let reference):
            .manifestUnknown("the repository '\(name)' has no manifest \(reference)")
        case .noManifest(let name, let text):
            .manifestUnknown("the repository '\(name)' has no manifest '\(excerpt(text))', which is not a tag")
        case .blob(_, let digest): .blobUnknown(digest)
        case .tags(let name), .referrers(let name, _): .nameUnknown("there is no repository '\(name)'")
        case .ping, .uploads, .upload, .catalog: .unknownEndpoint
        }
    }

    /// - Parameter path: percent-encoded, without the query, beginning with `/v2`.
    /// - Throws: `RegistryFailure` with the code of what is malformed; `.unknownEndpoint` if the path is no endpoint's.
    init(path: String) throws(RegistryFailure) {
        // Bytes are compared, not characters, since each request is parsed.
        var rest = Substring(path).utf8.dropFirst()
        guard let slash = rest.firstIndex(of: UInt8(ascii: "/")), slash != rest.index(before: rest.endIndex) else {
            self = .ping
            return
        }
        rest = rest[rest.index(after: slash)...]
        if rest.elementsEqual("_catalog".utf8) {
            self = .catalog
            return
        }
        guard let last = Self.lastComponent(&rest), let kind = Self.lastComponent(&rest) else { throw .unknownEndpoint }
        if kind == "uploads", Self.lastComponent(&rest) == "blobs" {
            let name = try Self.name(String(Substring(rest)))
            self = last.isEmpty ? .uploads(name) : .upload(name, UploadID(parsing: last))
            return
        }
        let name = String(Substring(rest))
        switch kind {
        case "blobs" where last == "uploads":
            self = .uploads(try Self.name(name))
        case "manifests":
            let name = try Self.name(name)
            do { self = .manifest(name, try Self.reference(last)) } catch {
                guard case .tagInvalid(let text) = error else { throw error }
                self = .noManifest(name, text)
            }
        case "blobs":
            self = .blob(try Self.name(name), try Self.digest(last))
        case "tags" where last == "list":
            self = .tags(try Self.name(name))
        case "referrers":
            self = .referrers(try Self.name(name), try Self.digest(last))
        default: throw .unknownEndpoint
        }
    }

    /// Removes the last component and the slash before it from a path.
    /// - Returns: the component; nil if there is no slash.
    private static func lastComponent(_ path: inout Substring.UTF8View) -> String? {
        guard let slash = path.lastIndex(of: UInt8(ascii: "/")) else { return nil }
        defer { path = path[..<slash] }
        return String(Substring(path[path.index(after: slash)...]))
    }

    private static func name(_ text: String) throws(RegistryFailure) -> RepositoryName {
        guard let name = percentDecoded(text) else { throw .nameInvalid(text) }
        do { return try RepositoryName(parsing: name) } catch { throw .nameInvalid(name) }
    }

    private static func reference(_ text: String) throws(RegistryFailure) -> Reference {
        guard let reference = percentDecoded(text) else { throw .tagInvalid(text) }
        do { return try Reference(parsing: reference) } catch .digest(let text) {
            throw .digestInvalid("\(OCIError.digest(text))")
        } catch {
            throw .tagInvalid(reference)
        }
    }

    private static func digest(_ text: String) throws(RegistryFailure) -> Digest {
        guard let digest = percentDecoded(text) else { throw .digestInvalid("\(OCIError.digest(text))") }
        do { return try Digest(parsing: digest) } catch { throw .digestInvalid("\(error)") }
    }
}

/// Decodes a text's percent-escapes; nil if they are malformed. This is safe, because the result is checked against the
/// specification's grammar and never used as a path.
private func percentDecoded(_ text: String) -> String? {
    text.utf8.contains(UInt8(ascii: "%")) ? PercentEncoding.decode(text.utf8, allowsNUL: true) : text
}
