import Blobs
import ErrorStatus
import HTTPServer
import HTTPTypes
import Images
import JSON
import OCI
import ObjectStore
import Registry
import Rootfs

/// How `/v2/` states failures: the specification's error codes in the specification's document
/// (OCI distribution specification, "Error codes").
struct RegistryErrors: ErrorEnvelope {
    let headers: HTTPFields = [.distributionVersion: "registry/2.0"]
    /// Where clients get tokens; nil: nowhere.
    var tokens: TokenRealm?

    /// At `/v2/` itself a token is all that is asked for: a docker without a login gives up where a password is asked
    /// for as well, and looks at no other answer than this one. Elsewhere passwords are asked for too, for clients that
    /// know nothing else.
    func challenges(for request: Request) -> [String] {
        let route = try? RegistryRoute(path: request.path)
        guard let token = tokens?.challenge(for: request, route) else { return [Self.passwords] }
        return route == .ping ? [token] : [token, Self.passwords]
    }

    func failure(for error: any Error) -> HTTPFailure? {
        if let failure = error as? RegistryFailure { return HTTPFailure(failure, failure.status) }
        // The request's body failed: it stalled, broke off or was too long.
        if let failure = ErrorStatus.ofBody(error) { return failure }
        guard let status = ErrorStatus(error, in: .registry) else { return nil }
        let known =
            switch error {
            case let error as ImageError: RegistryFailure(error)
            case let error as RegistryError: RegistryFailure(error)
            case BlobError.missing(let digest): RegistryFailure.blobUnknown(digest)
            default: RegistryFailure?.none
            }
        guard let known else {
            return HTTPFailure(
                status.status, status.message ?? "\(error)", code: "UNAVAILABLE", headers: status.headers)
        }
        return HTTPFailure(known, status.status)
    }

    func body(of failure: HTTPFailure, requestID: String) -> (contentType: String, bytes: [UInt8]) {
        let json: JSONValue = [
            "errors": [
                [
                    "code": .string(Self.code(of: failure)), "message": .string(failure.message),
                    "detail": failure.detail ?? .null,
                ]
            ]
        ]
        return ("application/json", json.canonicalBytes)
    }

    private static let known: Set<String> = [
        "BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN",
        "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED",
        "DENIED", "UNSUPPORTED", "TOOMANYREQUESTS",
    ]

    /// The code to answer. For a client's fault only the specification's own codes are allowed.
    private static func code(of failure: HTTPFailure) -> String {
        if known.contains(failure.code) || failure.status.kind != .clientError {
            return failure.code.isEmpty ? "UNKNOWN" : failure.code
        }
        return switch failure.status {
        case .requestTimeout, .contentTooLarge: "SIZE_INVALID"
        case .notFound: "NAME_UNKNOWN"
        default: "UNSUPPORTED"
        }
    }
}

extension HTTPFailure {
    fileprivate init(_ failure: RegistryFailure, _ status: HTTPResponse.Status) {
        self.init(status, failure.message, code: failure.code, headers: failure.headers)
    }
}

/// A refusal in the specification's terms (OCI distribution specification, "Error codes").
enum RegistryFailure: Error, Hashable {
    case nameInvalid(String)
    case nameUnknown(String)
    case tagInvalid(String)
    case manifestUnknown(String)
    case manifestInvalid(String)
    case manifestBlobUnknown([Digest])
    case blobUnknown(Digest)
    case tooLarge(maximum: Int64)
    case uploadUnknown
    case uploadInvalid(String)
    case uploadBusy
    /// - Parameter location: the URL at which the upload continues.
    case outOfOrder(received: Int64, location: String)
    case digestInvalid(String)
    case sizeInvalid(String)
    case denied(String)
    /// The store's own limit is reached, which is not the client's fault.
    case overStoreLimit(String)
    case unsupported(String, allow: String)
    case unknownEndpoint
    case paginationInvalid(String)
    case tooManyRequests(String)
    case full
    case unavailable(String)

    var status: HTTPResponse.Status {
        switch self {
        case .nameInvalid, .tagInvalid, .manifestInvalid, .digestInvalid, .paginationInvalid, .sizeInvalid,
            .uploadInvalid:
            .badRequest
        case .nameUnknown, .manifestUnknown, .manifestBlobUnknown, .blobUnknown, .uploadUnknown, .unknownEndpoint:
            .notFound
        case .tooLarge: .contentTooLarge
        case .uploadBusy: .conflict
        case .outOfOrder: .rangeNotSatisfiable
        case .denied: .forbidden
        case .unsupported: .methodNotAllowed
        case .tooManyRequests: .tooManyRequests
        case .full, .overStoreLimit: .init(code: 507, reasonPhrase: "Insufficient Storage")
        case .unavailable: .serviceUnavailable
        }
    }

    var headers: HTTPFields {
        switch self {
        case .unsupported(_, let allow): [.allow: allow]
        case .tooManyRequests, .unavailable: [.retryAfter: "5"]
        case .outOfOrder(let received, let location): [.range: receivedRange(received), .location: location]
        default: [:]
        }
    }

    var code: String {
        switch self {
        case .nameInvalid, .tagInvalid: "NAME_INVALID"
        case .nameUnknown: "NAME_UNKNOWN"
        case .manifestUnknown: "MANIFEST_UNKNOWN"
        case .manifestInvalid: "MANIFEST_INVALID"
        case .manifestBlobUnknown: "MANIFEST_BLOB_UNKNOWN"
        case .blobUnknown: "BLOB_UNKNOWN"
        case .uploadUnknown: "BLOB_UPLOAD_UNKNOWN"
        case .uploadInvalid, .uploadBusy, .outOfOrder: "BLOB_UPLOAD_INVALID"
        case .digestInvalid: "DIGEST_INVALID"
        case .sizeInvalid, .tooLarge: "SIZE_INVALID"
        case .denied, .overStoreLimit: "DENIED"
        case .paginationInvalid, .unsupported, .unknownEndpoint: "UNSUPPORTED"
        case .tooManyRequests: "TOOMANYREQUESTS"
        case .full, .unavailable: "UNAVAILABLE"
        }
    }

    var message: String {
        switch self {
        case .nameInvalid(let text): "'\(excerpt(text))' is not a repository name"
        case .nameUnknown(let reason): reason
        case .tagInvalid(let text): "'\(excerpt(text))' is not a tag"
        case .manifestUnknown(let reason), .manifestInvalid(let reason): reason
        case .manifestBlobUnknown(let digests):
            "this repository no longer has \(digests.prefix(5).map(\.description).joined(separator: ", ")): push it again"
        case .blobUnknown(let digest): "this repository has no blob \(digest)"
        case .tooLarge(let maximum): "a blob has at most \(maximum) bytes"
        case .uploadUnknown: "there is no such upload: begin it again"
        case .uploadInvalid(let reason): reason
        case .uploadBusy: "another request writes to this upload"
        case .outOfOrder(let received, _): "the next chunk begins at byte \(received)"
        case .digestInvalid(let text): "'\(excerpt(text))' is not the content's digest"
        case .sizeInvalid(let reason): reason
        case .denied(let reason), .overStoreLimit(let reason): reason
        case .unsupported(let reason, _): reason
        case .unknownEndpoint: "the distribution specification has no such endpoint"
        case .paginationInvalid(let text): "'\(excerpt(text))' is not a number of things to list"
        case .tooManyRequests(let reason): reason
        case .full: "the registry's store is full: content has to be removed first"
        case .unavailable(let reason): reason
        }
    }

    /// The refusal for an error of a derived image's lookup; nil if the specification has no code for it.
    init?(_ error: ImageError) {
        switch error {
        case .invalidName(_, let text): self = .nameInvalid(text)
        case .unknownDroplet, .unknownStack, .unknownVersion, .nothingPromoted, .noVariant, .noLifecycle:
            self = .manifestUnknown("\(error)")
        case .blob(.missing(let digest)): self = .blobUnknown(digest)
        case .store(.full), .blob(.store(.full)): self = .full
        case .store, .blob(.store), .blob(.contended), .contended, .cancelled:
            self = .unavailable("the store can't be read at the moment: try again")
        default: return nil
        }
    }

    /// The refusal for an error of the registry; nil if the specification has no code for it.
    init?(_ error: RegistryError) {
        switch error {
        case .unknownRepository(let name): self = .nameUnknown("there is no repository '\(name)'")
        case .unknownManifest: self = .manifestUnknown("\(error)")
        case .unknownBlob(_, let digest): self = .blobUnknown(digest)
        case .unknownUpload: self = .uploadUnknown
        case .busyUpload: self = .uploadBusy
        case .tooManyUploads: self = .tooManyRequests("\(error)")
        case .mismatch(let announced, _): self = .digestInvalid(announced.description)
        case .sizeMismatch: self = .sizeInvalid("\(error)")
        case .tooLarge(let maximum): self = .tooLarge(maximum: maximum)
        case .invalidManifest(let reason): self = .manifestInvalid(reason)
        case .missingContent(let digests): self = .manifestBlobUnknown(digests)
        case .contended, .cancelled, .blob(.uncounted), .blob(.contended): self = .unavailable("\(error)")
        case .blob(.overQuota(let denial)):
            self = denial.repositories == nil ? .overStoreLimit("\(denial)") : .denied("\(denial)")
        case .store(.full), .blob(.store(.full)): self = .full
        case .store(.permission), .blob(.store(.permission)):
            self = .unavailable("the registry's store can't be written at the moment")
        case .blob(.missing(let digest)): self = .blobUnknown(digest)
        case .store, .blob(.store): self = .unavailable("the registry's store failed: try again")
        // The upload's route handles `.outOfOrder` itself, since it knows the upload's URL. The others are internal
        // failures.
        case .outOfOrder, .unreadable, .blob, .input: return nil
        }
    }
}

/// The value of `Range` for received bytes, as the specification defines it. For no bytes it can only be `0-0`.
func receivedRange(_ received: Int64) -> String { "0-\(max(received - 1, 0))" }

/// The beginning of a text from a request, at most 160 characters, without control characters.
private func excerpt(_ text: String) -> String {
    let shown = String.UnicodeScalarView(text.unicodeScalars.prefix(160).filter { $0.value >= 32 && $0.value != 127 })
    return String(shown) + (text.unicodeScalars.count > 160 ? "…" : "")
}
