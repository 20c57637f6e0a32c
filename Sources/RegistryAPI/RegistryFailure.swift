import Blobs
import HTTPTypes
import Images
import OCI

/// A refusal in the specification's terms (OCI distribution specification, "Error codes").
enum RegistryFailure: Error, Hashable {
    case nameInvalid(String)
    case nameUnknown(String)
    case tagInvalid(String)
    case manifestUnknown(String)
    case blobUnknown(Digest)
    case digestInvalid(String)
    case unsupported(String)
    case unknownEndpoint
    case paginationInvalid(String)
    case unavailable(String)

    var status: HTTPResponse.Status {
        switch self {
        case .nameInvalid, .tagInvalid, .digestInvalid, .paginationInvalid: .badRequest
        case .nameUnknown, .manifestUnknown, .blobUnknown, .unknownEndpoint: .notFound
        case .unsupported: .methodNotAllowed
        case .unavailable: .serviceUnavailable
        }
    }

    var headers: HTTPFields {
        if case .unsupported = self { [.allow: "GET, HEAD"] } else { [:] }
    }

    var code: String {
        switch self {
        case .nameInvalid: "NAME_INVALID"
        case .nameUnknown: "NAME_UNKNOWN"
        case .tagInvalid: "TAG_INVALID"
        case .manifestUnknown: "MANIFEST_UNKNOWN"
        case .blobUnknown: "BLOB_UNKNOWN"
        case .digestInvalid: "DIGEST_INVALID"
        case .paginationInvalid: "PAGINATION_NUMBER_INVALID"
        case .unsupported, .unknownEndpoint: "UNSUPPORTED"
        case .unavailable: "UNAVAILABLE"
        }
    }

    var message: String {
        switch self {
        case .nameInvalid(let text): "'\(excerpt(text))' is not a repository name"
        case .nameUnknown(let reason): reason
        case .tagInvalid(let text): "'\(excerpt(text))' is not a tag"
        case .manifestUnknown(let reason): reason
        case .blobUnknown(let digest): "this repository has no blob \(digest)"
        case .digestInvalid(let text): "'\(excerpt(text))' is not a digest"
        case .unsupported(let reason): reason
        case .unknownEndpoint: "the distribution specification has no such endpoint"
        case .paginationInvalid(let text): "'\(excerpt(text))' is not a number of tags"
        case .unavailable(let reason): reason
        }
    }

    /// For an error that a derived image's lookup ended with. nil: something failed inside.
    init?(_ error: ImageError) {
        switch error {
        case .invalidName(_, let text): self = .nameInvalid(text)
        case .unknownDroplet, .unknownStack, .unknownVersion, .nothingPromoted, .noVariant, .noLifecycle:
            self = .manifestUnknown("\(error)")
        case .blob(.missing(let digest)): self = .blobUnknown(digest)
        case .store, .contended: self = .unavailable("the store can't be read at the moment: try again")
        default: return nil
        }
    }
}

/// The beginning of a text that somebody sent, fit to be shown.
private func excerpt(_ text: String) -> String {
    let shown = String.UnicodeScalarView(text.unicodeScalars.prefix(100).filter { $0.value >= 32 && $0.value != 127 })
    return String(shown) + (text.unicodeScalars.count > 100 ? "…" : "")
}
